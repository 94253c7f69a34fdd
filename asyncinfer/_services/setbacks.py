"""What follows when a model's setup fails: its jobs wait, longer each time, until a call of it has begun again."""

from __future__ import annotations

from collections import deque

from asyncinfer._job import JobError

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
"""The pauses double from the first to this."""
PERSISTENT_COUNT = 3
PERSISTENT_SECONDS = 60.0
"""So many failures within so long are told in `health()`, until a call has begun."""


class Setbacks:
    """The failures in a row of one model's setup. `now` is monotonic seconds."""

    __slots__ = ("_recent", "count", "error", "is_persistent", "until")

    def __init__(self) -> None:
        self.count: int = 0
        self.until: float = 0.0
        """Before this instant none of its jobs should be claimed."""
        self.error: JobError | None = None
        self.is_persistent: bool = False
        self._recent: deque[float] = deque(maxlen=PERSISTENT_COUNT)

    def failed(self, error: JobError | None, now: float) -> None:
        """Note a failure. One that comes within the pause was begun before it, and is the same setback."""
        self.error = error
        if now < self.until:
            return
        self.count += 1
        self.until = now + pause_after(self.count)
        self._recent.append(now)
        if len(self._recent) == PERSISTENT_COUNT and now - self._recent[0] <= PERSISTENT_SECONDS:
            self.is_persistent = True

    def clear(self) -> None:
        """Forget them all: the model is set up."""
        self.count, self.until, self.error, self.is_persistent = 0, 0.0, None, False
        self._recent.clear()


def pause_after(failures: int) -> float:
    """Return seconds to wait after so many failures in a row: 1, 2, 4 … 60."""
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16))
