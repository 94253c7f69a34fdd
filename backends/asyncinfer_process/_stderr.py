"""The standard error of a worker process: passed on to ours, and its tail kept for the error of a job."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import IO

TAIL_BYTES = 8 * 1024
READ_BYTES = 64 * 1024


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
        while self._read():
            pass
        self._loop.remove_reader(self._pipe.fileno())
        self._pipe.close()
        return self._tail.decode(errors="replace").strip()

    def _read(self) -> bool:
        """Read once; False when there is nothing now."""
        try:
            data = os.read(self._pipe.fileno(), READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._loop.remove_reader(self._pipe.fileno())
            return False
        self._tail = (self._tail + data)[-TAIL_BYTES:]
        with contextlib.suppress(Exception):  # ours may be closed, or none
            sys.stderr.write(data.decode(errors="replace"))
        return True
