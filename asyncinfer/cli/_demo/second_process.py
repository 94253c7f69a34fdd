"""The second process as the first one sees it: started, found in the store, killed while it runs attempts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from msgspec import Struct

from asyncinfer import JobFilter, JobManager
from asyncinfer.cli._demo.over_http import VISITOR
from asyncinfer.errors import AsyncinferError

PROGRAM = "asyncinfer.cli._demo.worker_process"
START_SECONDS = 60.0
LOOK_SECONDS = 0.05
READ_SECONDS = 0.2
"""A look at the store takes a thousandth of that, unless the process was stopped inside a lock."""
RUN_ON_SECONDS = 0.003
"""How long it runs on between two looks, when it ran nothing at the first: less than a file takes."""


class Killed(Struct, frozen=True):
    """The second process's end: what the store said it was running when SIGKILL was sent."""

    pid: int
    worker: str
    at: int
    """Milliseconds since 1970 UTC."""
    held: frozenset[str]
    """Ids of the jobs, visitors' ones aside, whose attempts it had begun and not ended."""


class SecondProcess:
    """A worker on the same store in a process of its own. Leaving the context kills it in any case.

    From its attempt of the number `stands_still_from` on it stands still in each: `kill_at_work` finds it at one,
    however few there are and however late this process looks.
    """

    def __init__(self, url: str, *, stands_still_from: int) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed on leaving
        # -P: a file of the user's folder must not stand in for a module of ours. A session of its own: Ctrl-C is ours.
        command = [sys.executable, "-P", "-m", PROGRAM, url, str(stands_still_from)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self._said, stderr=self._said, start_new_session=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._said.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def worker(self, manager: JobManager) -> str:
        """Return its worker id once it is known to the store. Raise AsyncinferError if it ends or takes too long."""
        give_up_at = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up_at:
            for worker in await manager.workers():
                if worker.pid == self.pid:
                    return worker.worker
            self._require_alive()
            await asyncio.sleep(LOOK_SECONDS)
        raise AsyncinferError(
            f"the second process did not start within {START_SECONDS:.0f} s; it said: {self._words()}"
        )

    async def kill_at_work(self, manager: JobManager, worker: str, is_over: Callable[[], bool]) -> Killed:
        """Kill it while it runs attempts.

        It is stopped first, so that what the store says of it holds until SIGKILL; if it runs nothing at that instant
        it goes on for a moment. Once `is_over` it is killed idle, and `held` is empty.
        """
        while True:
            self._require_alive()
            self._process.send_signal(signal.SIGSTOP)
            await asyncio.to_thread(self._wait_stopped)
            held = await self._held(manager, worker)
            if held or (held is not None and is_over()):
                self._process.kill()
                at = time.time_ns() // 1_000_000
                self._process.wait()
                return Killed(self.pid, worker, at, held)
            self._process.send_signal(signal.SIGCONT)
            await asyncio.sleep(RUN_ON_SECONDS)

    async def _held(self, manager: JobManager, worker: str) -> frozenset[str] | None:
        """Return the jobs that it runs; None when it stands still inside a lock that reading the store needs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_SECONDS):
                running = await manager.find(JobFilter(status=("running",)), limit=1_000)
                return frozenset(job.id for job in running.jobs if job.worker == worker and job.owner != VISITOR)
        return None

    def _wait_stopped(self) -> None:
        """Return once every thread stands still: on a busy machine that is well after the signal was sent."""
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            self._process.returncode = os.waitstatus_to_exitcode(status)

    def _require_alive(self) -> None:
        code = self._process.poll()
        if code is not None:
            raise AsyncinferError(f"the second process ended by itself, with {code}; it said: {self._words()}")

    def _words(self) -> str:
        self._said.seek(0)
        return self._said.read().decode(errors="replace")[-2_000:].strip() or "nothing"
