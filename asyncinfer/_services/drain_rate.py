"""How fast a queue empties here, and so when a refused submit may try again."""

from __future__ import annotations

import random

WINDOW_SECONDS = 10.0
SHORTEST_SECONDS, LONGEST_SECONDS = 1.0, 60.0
JITTER = 0.2


class DrainRate:
    """Jobs ended a second, over the last one to two windows."""

    def __init__(self, now: float, ended: int = 0) -> None:
        self._older = self._newer = (now, ended)

    def retry_after(self, ended: int, now: float, limit: int) -> float:
        """Return seconds until a tenth of `limit` will have drained, 1 to 60, jittered by 20 %.

        `ended` counts all jobs that ended so far, `now` is monotonic seconds.
        """
        rate = self.per_second(ended, now)
        seconds = limit / 10 / rate if rate else LONGEST_SECONDS
        seconds *= 1 + JITTER * (2 * random.random() - 1)
        return min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)

    def per_second(self, ended: int, now: float) -> float:
        """Return the jobs that end in a second; `ended` counts all so far, `now` is monotonic seconds."""
        since, before = self._older
        if now - self._newer[0] > WINDOW_SECONDS:
            self._older, self._newer = self._newer, (now, ended)
        return (ended - before) / max(now - since, 0.001)
