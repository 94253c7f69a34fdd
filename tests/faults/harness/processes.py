"""Real processes to kill, stop and continue; only ever by the pid of one that was started here.

They are forked from a clean server that has imported the library and holds no store: one starts in a few milliseconds,
where an interpreter and its imports take half a second, and a test may kill a thousand of them.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any, ParamSpec

from tests.faults.harness.waiting import came_true

P = ParamSpec("P")
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    [
        "asyncinfer.abc",
        "asyncinfer.adapters.webhook._sender",
        "asyncinfer_memory",
        "asyncinfer_sqlite",
        "asyncinfer_thread",
        "pytest",
        __name__,
    ]
)


class Child:
    """One process that a nursery has started."""

    def __init__(self, process: ForkServerProcess, log: Path) -> None:
        self._process = process
        self.log = log
        assert process.pid is not None
        self.pid: int = process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def exit_code(self) -> int | None:
        """Its exit code, minus the signal that killed it, or None while it lives."""
        return self._process.exitcode

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it still lives."""
        if self._process.exitcode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it with SIGKILL, stopped or not, and wait until it is gone."""
        self.send(signal.SIGKILL)
        self._process.join(30)
        if self._process.exitcode is None:
            raise TimeoutError(f"process {self.pid} outlives SIGKILL")

    async def has_ended(self, within: float) -> bool:
        """Wait up to `within` seconds for it to end by itself."""
        return await came_true(lambda: self._process.exitcode is not None, within)


class Nursery:
    """Starts processes whose standard error goes into files of `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.children: list[Child] = []

    def start(
        self, function: Callable[P, Coroutine[Any, Any, None]], /, *args: P.args, **kwargs: P.kwargs
    ) -> Child:  # Any: what a coroutine yields is its loop's business
        """Run a module-level async function in a process of its own; the arguments are pickled."""
        log = self._folder / f"child-{len(self.children)}.log"
        process = _forks.Process(target=_serve, args=(log, function, args, kwargs), daemon=True)
        process.start()
        child = Child(process, log)
        self.children.append(child)
        return child

    def barrier(self, parties: int) -> Barrier:
        """Make a barrier to hand to processes of this nursery."""
        return _forks.Barrier(parties)

    def logs(self) -> str:
        """Return what the processes said, for the message of a failed test."""
        return "\n".join(f"{path.name}: {path.read_text()}" for path in sorted(self._folder.glob("*.log")))


@contextmanager
def nursery(folder: Path) -> Generator[Nursery, None, None]:
    """Lend a nursery; whatever of it still lives at the end is killed."""
    started = Nursery(folder)
    try:
        yield started
    finally:
        for child in started.children:
            child.kill()


def _serve(
    log: Path, function: Callable[..., Coroutine[Any, Any, None]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:  # Any: `start` has checked them
    sys.stderr = log.open("w", buffering=1)
    os.dup2(sys.stderr.fileno(), 2)
    faulthandler.enable(sys.stderr)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # some of them crash on purpose
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    asyncio.run(function(*args, **kwargs))
