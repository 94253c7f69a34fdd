"""The standard error of a worker process: passed on to ours, and its tail kept for the error of a job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import sys
from typing import IO

TAIL_BYTES = 8 * 1024
READ_BYTES = 64 * 1024
"""As much as a pipe holds."""
WRITE_BYTES = select.PIPE_BUF
"""What is written at once: a pipe that can be written to takes so much without waiting."""


class StderrTail:
    """Reads a pipe on the loop, which nothing that is written there may hold up."""

    def __init__(self, pipe: IO[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._pipe = pipe
        self._loop = loop
        self._tail = b""
        os.set_blocking(pipe.fileno(), False)
        loop.add_reader(pipe.fileno(), self._read)

    def close(self) -> str:
        """Stop, and return the tail."""
        self._read()  # once: a process forked from the worker may be writing for ever
        self._loop.remove_reader(self._pipe.fileno())
        self._pipe.close()
        return self._tail.decode(errors="replace").strip()

    def _read(self) -> None:
        try:
            data = os.read(self._pipe.fileno(), READ_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._pipe.fileno())
            return
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        with contextlib.suppress(Exception):  # ours may be closed, or none
            _pass_on(data)


def _pass_on(data: bytes) -> None:
    """Write to our standard error what it takes at once; the rest is dropped."""
    try:
        ours = sys.stderr.fileno()
    except (OSError, ValueError):  # replaced by something in memory: a notebook's, a test's
        sys.stderr.write(data.decode(errors="replace"))
        return
    for begin in range(0, len(data), WRITE_BYTES):
        if not select.select([], [ours], [], 0)[1]:
            return
        os.write(ours, data[begin : begin + WRITE_BYTES])
