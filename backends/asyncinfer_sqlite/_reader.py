"""Reads beside the writer: short ones, each with a deadline."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiosqlite

from asyncinfer.errors import AsyncinferError, StoreUnavailable
from asyncinfer_sqlite._connections import READ_TIMEOUT, configure_reader, connect, run
from asyncinfer_sqlite._failures import unreadable

R = TypeVar("R")


class Reader:
    """One connection that only reads; its closures run one after another on its own thread."""

    def __init__(self, path: Path, call_timeout: float) -> None:
        self._path = path
        self._call_timeout = call_timeout
        self._connection: aiosqlite.Connection | None = None

    async def open(self) -> None:
        self._connection = await connect(self._path, READ_TIMEOUT)
        await run(self._connection, configure_reader)

    async def close(self) -> None:
        """Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def run(self, reading: Callable[[sqlite3.Connection], R]) -> R:
        """Run one reading closure. Raise StoreUnavailable when it fails or is late, Undecodable for a damaged row."""
        if self._connection is None:
            raise StoreUnavailable("the store is not open")
        try:
            async with asyncio.timeout(self._call_timeout):
                return await run(self._connection, reading)
        except TimeoutError as error:
            raise StoreUnavailable(f"a read took over {self._call_timeout} s") from error
        except AsyncinferError:
            raise
        except Exception as error:
            # The driver's refusal, or a decode that a damaged row made fail: the loops that read must live.
            raise unreadable(error) from error
