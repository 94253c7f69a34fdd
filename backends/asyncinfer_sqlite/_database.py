"""The parts of an opened store: its file, its lock, the writer, two readers; opened in order, closed in reverse."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import aiosqlite

from asyncinfer.abc import Clock, ClockGuard, JobKey
from asyncinfer.errors import AsyncinferError
from asyncinfer_sqlite import _workers
from asyncinfer_sqlite._connections import OPEN_TIMEOUT, WAL_BYTES, Synchronous, configure_writer, connect, run
from asyncinfer_sqlite._failures import typed
from asyncinfer_sqlite._lines import Lines
from asyncinfer_sqlite._liveness import LivenessLock
from asyncinfer_sqlite._location import prepare_file
from asyncinfer_sqlite._migrations import migrate
from asyncinfer_sqlite._reader import Reader
from asyncinfer_sqlite._sql import load
from asyncinfer_sqlite._writer import Writer

_CHANGES_INTERVAL = 0.05
"""Seconds between two looks for commits of other processes, while somebody iterates."""
_FREED_PAGES = 1_000
"""Pages that one tidying gives back to the file system: 4 MiB, a few milliseconds."""
_COUNTERS = load("counters")


class Database:
    """Everything that stands between `open` and `close`."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        guard: ClockGuard,
        *,
        min_free_bytes: int,
        synchronous: Synchronous,
        call_timeout: float,
        insert_timeout: float,
    ) -> None:
        self.path = path
        self.lock = LivenessLock(path)
        self.writer = Writer(
            path,
            clock,
            guard,
            min_free_bytes=min_free_bytes,
            call_timeout=call_timeout,
            insert_timeout=insert_timeout,
        )
        self.reader = Reader(path, call_timeout)
        self.finder = Reader(path, insert_timeout)
        self.reader_lines = Lines()
        self.finder_lines = Lines()
        self._clock = clock
        self._guard = guard
        self._synchronous: Synchronous = synchronous
        self._connection: aiosqlite.Connection | None = None
        self._closed = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Check the place, migrate, lock, connect. Raise StoreUnusable, SchemaTooNew or StoreUnavailable."""
        if self._closing is not None:
            await asyncio.wait([self._closing])
        if self._connection is not None:
            return
        prepare_file(self.path)
        async with AsyncExitStack() as undo:
            try:
                connection = await connect(self.path, OPEN_TIMEOUT)
                undo.push_async_callback(connection.close)
                newest = await run(connection, self._prepare)
                self.lock.acquire()
                undo.callback(self.lock.release)
                for reader in (self.reader, self.finder):
                    undo.push_async_callback(reader.close)
                    await reader.open()
            except sqlite3.Error as error:
                raise typed(error) from error
            undo.pop_all()
        if newest:
            self._guard.compare(newest)
        self._closed = asyncio.Event()
        self._connection = connection
        self.writer.start(connection, self.lock.name)

    async def close(self) -> None:
        """Complete what was handed over, save the log into the file, release everything. Idempotent.

        It runs to its end whoever cancels the waiting: cut short, it would leave calls that nobody answers.
        """
        if self._closing is None and self._connection is not None:
            self._closing = asyncio.create_task(self._close(self._connection), name="asyncinfer-sqlite-closing")
            self._connection = None
        closing = self._closing  # it takes itself out when it is done
        if closing is None:
            return
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await asyncio.wait([closing])
            raise

    async def _close(self, connection: aiosqlite.Connection) -> None:
        self._closed.set()
        try:
            async with AsyncExitStack() as parts:
                parts.callback(self.lock.release)
                parts.push_async_callback(connection.close)
                parts.push_async_callback(self.finder.close)
                parts.push_async_callback(self.reader.close)
                await self.writer.close()
                self.lock.is_kept = await run(connection, self._leave)
        finally:
            self._closing = None

    def _prepare(self, connection: sqlite3.Connection) -> int:
        migrate(connection, str(self.path))
        configure_writer(connection, self._synchronous)
        return int(connection.execute(_COUNTERS["newest_at"].text).fetchone()[0])

    def _leave(self, connection: sqlite3.Connection) -> bool:
        is_needed = True
        # On a full disk the log stays beside the file, and whoever opens it next reads both.
        with suppress(sqlite3.Error):
            is_needed = _workers.runs_anything(connection, self.lock.name)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return is_needed

    async def tidy(self) -> None:
        """Give freed pages back, keep the log short, forget the dead."""
        named = await self.reader.run(_workers.locks)
        dead = [name for name in named if self.lock.is_gone(name)]
        if dead:
            named = await self.writer.step(partial(_workers.forget, locks=dead))
        self.lock.forget_dead(named)
        await self.writer.look(self._shrink)

    def _shrink(self, connection: sqlite3.Connection) -> None:
        if connection.execute("PRAGMA freelist_count").fetchone()[0]:
            connection.execute(f"PRAGMA incremental_vacuum({_FREED_PAGES})").fetchall()
        log = self.path.with_name(self.path.name + "-wal")
        if log.exists() and log.stat().st_size > WAL_BYTES:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    async def changes(self) -> AsyncIterator[Sequence[JobKey] | None]:
        """Yield None whenever another process has committed."""
        seen = await self._version()
        while not self._closed.is_set():
            try:
                async with asyncio.timeout(_CHANGES_INTERVAL):
                    await self._closed.wait()
                return
            except TimeoutError:
                pass
            found = await self._version()
            if found != seen:
                seen = found
                yield None

    async def _version(self) -> int:
        # On the writer's connection, whose own commits leave it as it is.
        try:
            return await self.writer.look(lambda db: int(db.execute("PRAGMA data_version").fetchone()[0]))
        except AsyncinferError:
            return -1
