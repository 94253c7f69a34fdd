"""Open SQLite connections as the store needs them, and run closures on their threads."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, TypeVar

import aiosqlite

from asyncinfer.errors import StoreUnavailable, StoreUnusable
from asyncinfer_sqlite._failures import is_busy

R = TypeVar("R")
Synchronous = Literal["FULL", "NORMAL", "OFF", "EXTRA"]

OPEN_TIMEOUT = 5.0
"""Seconds that opening waits for another process that opens, migrates or recovers."""
READ_TIMEOUT = 0.25
"""Seconds that a read waits; in write-ahead mode only recovery makes it wait at all."""
WAL_PAGES = 4_000
"""Pages (16 MiB) after which a commit moves the log into the database."""
WAL_BYTES = 32 * 1024 * 1024
"""What remains of the log file after it was moved."""
_LEVELS = {"OFF": 0, "NORMAL": 1, "FULL": 2, "EXTRA": 3}


async def connect(path: Path, timeout: float) -> aiosqlite.Connection:
    """Open a connection in which only an explicit BEGIN opens a transaction."""
    connecting = asyncio.create_task(_connected(path, timeout))
    try:
        return await asyncio.shield(connecting)
    except asyncio.CancelledError:
        # Cancelled itself, aiosqlite would forget the connection that its thread is about to hand over, or the thread.
        await asyncio.wait([connecting])
        if connecting.exception() is None:
            await connecting.result().close()
        raise


async def run(connection: aiosqlite.Connection, function: Callable[[sqlite3.Connection], R]) -> R:
    """Run `function` on the connection's own thread, as one step that a cancelled await does not cut short.

    aiosqlite has no public call for this, and awaiting statement by statement costs 124 us each and leaves a
    transaction open when the await is cancelled: so its private `_execute` is used, here and nowhere else.
    """
    execute: Callable[..., Awaitable[R]] | None = getattr(connection, "_execute", None)
    raw = getattr(connection, "_conn", None)
    if execute is None or not isinstance(raw, sqlite3.Connection):
        raise StoreUnusable("this aiosqlite has no Connection._execute: install one that asyncinfer was tested with")
    return await execute(function, raw)


async def _connected(path: Path, timeout: float) -> aiosqlite.Connection:
    connection = aiosqlite.connect(path, timeout=timeout, isolation_level=None, cached_statements=512)
    # Else a program that forgets to close its store never ends. Up to 0.21 the connection is itself the thread.
    thread = getattr(connection, "_thread", connection)
    if isinstance(thread, threading.Thread):
        thread.daemon = True
    return await connection


def configure_writer(connection: sqlite3.Connection, synchronous: Synchronous) -> None:
    """Set what the writer needs and read it back. Raise StoreUnusable where SQLite did not take it."""
    wanted = {"journal_mode": "wal", "synchronous": _LEVELS[synchronous], "foreign_keys": 1, "auto_vacuum": 2}
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    # The writer never waits inside SQLite: it tries again from the loop.
    connection.execute("PRAGMA busy_timeout = 0")
    for name, value in wanted.items():
        found = connection.execute(f"PRAGMA {name}").fetchone()[0]
        if found != value:
            raise StoreUnusable(f"SQLite keeps {name} at {found!r} where the store needs {value!r}")


def configure_reader(connection: sqlite3.Connection) -> None:
    """Make a connection that cannot write."""
    connection.execute("PRAGMA query_only = ON")


def retry_while_busy(step: Callable[[], R], timeout: float = OPEN_TIMEOUT) -> R:
    """Repeat `step` while another process holds a lock; for opening only. Raise StoreUnavailable after `timeout`."""
    end = time.monotonic() + timeout
    while True:
        try:
            return step()
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            if time.monotonic() >= end:
                raise StoreUnavailable(f"another process kept the store locked for {timeout} s") from error
            time.sleep(0.01)
