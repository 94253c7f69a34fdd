"""Commands that run until they are told to stop, and what they print meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "asyncinfer.cli"]
Background = Callable[..., AbstractAsyncContextManager["Running"]]


class Running:
    """A command that runs."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.printed: list[str] = []

    async def line(self) -> str:
        """Return the next line that it prints; fail when it ends without."""
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode()
        if not line:
            pytest.fail(f"it ended: {(await self.process.communicate())[1].decode()}")
        self.printed.append(line)
        return line.rstrip("\n")

    async def told(self) -> Any:
        """Return the next line, which is JSON."""
        return json.loads(await self.line())

    async def says(self, words: str) -> str:
        """Return the next logged line that holds `words`; fail when it ends without."""
        assert self.process.stderr is not None
        seen = b""
        while line := await self.process.stderr.readline():
            if words.encode() in line:
                return line.decode()
            seen += line
        pytest.fail(f"it never said {words!r}: {seen.decode()}")

    async def ended(self, stop: signal.Signals = signal.SIGTERM) -> tuple[int | None, str]:
        """Tell it to stop; return its exit code and what it still logged."""
        self.process.send_signal(stop)
        _, errors = await self.process.communicate()
        return self.process.returncode, errors.decode()


@contextlib.asynccontextmanager
async def running(folder: Path, environment: Mapping[str, str], *arguments: object) -> AsyncGenerator[Running]:
    """Run `asyncinfer ARGUMENTS` in a folder, for a minute at most, and kill it in the end."""
    command = [*COMMAND, *map(str, arguments)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=dict(environment), stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(60):
            yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
