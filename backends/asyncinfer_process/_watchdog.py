"""Ends worker processes that take more memory than their model may.

RLIMIT_DATA stops most allocations before; what it does not count, shared and file-backed pages, is looked for here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from asyncinfer_process import _memory
from asyncinfer_process._worker import Worker

LOOK_SECONDS = 0.2
MIB = 1024 * 1024


class Watchdog:
    """Looks while there is a process with a limit: no event tells of memory."""

    def __init__(self, members: Callable[[], Sequence[tuple[Worker, int | None]]]) -> None:
        self._members = members
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """Look from now on, if there is something to look at."""
        if self._timer is None and any(limit is not None for _, limit in self._members()):
            self._timer = self._loop.call_later(LOOK_SECONDS, self._look)

    def _look(self) -> None:
        for worker, limit in self._members():
            if limit is None or worker.pid is None:
                continue
            taken = _memory.resident_bytes(worker.pid)
            if taken is not None and taken > limit:
                why = f"it took {taken // MIB} MiB, and its model's memory_limit is {limit // MIB} MiB"
                worker.kill("memory_limit", why, at_once=True)
        self._timer = None
        self.arm()
