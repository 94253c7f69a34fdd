"""How a worker process ended, in words; and how the kernel tells of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from asyncinfer.abc import JobError

KillReason = Literal["canceled", "time_limit", "memory_limit", "broken", "closing"]


class Elsewhere(Exception):
    """The traceback, or the last words, of a worker process: the cause of an error that is raised here."""


class Exit(Struct, frozen=True):
    """The end of a worker process."""

    message: str
    killed_for: KillReason | None = None
    is_out_of_memory: bool = False
    stderr: str = ""
    """The last that it wrote there."""

    def error(self, attempt: int) -> JobError:
        """Return it as the error of an attempt that it ended."""
        code: Literal["out_of_memory", "worker_lost"] = "out_of_memory" if self.is_out_of_memory else "worker_lost"
        return JobError(code=code, message=self.message, type="WorkerLost", traceback=self.stderr, attempt=attempt)


def said(code: int) -> str:
    """Return a process's exit code in words."""
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"died of {signal.Signals(-code).name}"
    except ValueError:
        return f"died of signal {-code}"


def watch(process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, on_exit: Callable[[], None]) -> None:
    """Call `on_exit` on the loop when the process has ended.

    No pipe tells as soon: it stays open while a process that was forked from it lives.
    """
    try:
        descriptor = os.pidfd_open(process.pid)
    except (AttributeError, OSError):  # not Linux, an old one, or no descriptor is left
        _watch_by_thread(process, loop, on_exit)
        return

    def exited() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        on_exit()

    loop.add_reader(descriptor, exited)


def _watch_by_thread(
    process: subprocess.Popen[bytes], loop: asyncio.AbstractEventLoop, on_exit: Callable[[], None]
) -> None:
    def wait() -> None:
        process.wait()
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(on_exit)

    threading.Thread(target=wait, name=f"asyncinfer-process-{process.pid}-exit", daemon=True).start()
