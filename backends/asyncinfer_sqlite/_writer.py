"""The one writer: callers call one by one, and what arrives while a commit is in flight shares the next."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from asyncinfer.abc import ClaimRequest, Claims, Clock, ClockGuard, Finish, Inserted, Lease, WriteAnswer
from asyncinfer.errors import OutcomeUnknown, StoreUnavailable, StoreUnusable
from asyncinfer_sqlite._batch import Batch
from asyncinfer_sqlite._calls import Call, Kind
from asyncinfer_sqlite._connections import run
from asyncinfer_sqlite._failures import typed
from asyncinfer_sqlite._finish import give_back
from asyncinfer_sqlite._known import Known
from asyncinfer_sqlite._lines import Lines
from asyncinfer_sqlite._location import free_bytes
from asyncinfer_sqlite._record import PreparedRecord
from asyncinfer_sqlite._rows import PreparedJob
from asyncinfer_sqlite._transaction import Opener, Transaction

R = TypeVar("R")
_LOGGER = logging.getLogger("asyncinfer.sqlite")
_INSERTS = 256
"""New jobs in one batch; what is beyond waits for the next, endings and claims never do.

Of 1,000 submitters a quarter is committed while the loop serves the others; all at once, thread and loop took turns.
"""
_INSERTED_BYTES = 16 * 1024 * 1024
_GATHERING_PASSES = 2
"""Passes of the loop before a batch is closed: a claim issued beside an insert, or by its waiter, shares its commit."""
_BUSY_PAUSE = (0.002, 0.02)
"""Seconds between two tries while another process writes."""
_WATCH_INTERVAL = 0.1
"""Seconds between two looks at the deadlines of calls; a late call is answered at most so much later."""


class Writer:
    """Owns the writing connection. Nobody cancels its task; a caller's cancellation only ends its own waiting."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        guard: ClockGuard,
        *,
        min_free_bytes: int,
        call_timeout: float,
        insert_timeout: float,
    ) -> None:
        self._path = path
        self._clock = clock
        self._guard = guard
        self._min_free_bytes = min_free_bytes
        self._call_timeout = call_timeout
        self._insert_timeout = insert_timeout
        self._known = Known()
        self._lines = Lines()
        self._lock_name = ""
        self._connection: aiosqlite.Connection | None = None
        self._waiting: dict[Kind, list[Call]] = {}
        self._batch: Batch | None = None
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._has_leftover = False
        self._files: tuple[int, int] | None = None

    def start(self, connection: aiosqlite.Connection, lock_name: str) -> None:
        """Begin to serve. The task lives until `close`."""
        self._connection, self._lock_name = connection, lock_name
        self._known.forget()
        self._is_closing = False
        self._wake = asyncio.Event()
        self._files = None
        self._task = asyncio.create_task(self._serve(), name="asyncinfer-sqlite-writer")

    async def close(self) -> None:
        """Complete what was handed over, then stop. Idempotent."""
        self._is_closing = True
        self._wake.set()
        task, self._task = self._task, None
        if task is not None:
            await task
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._connection = None

    # Calls

    async def insert(self, items: Sequence[PreparedJob]) -> list[Inserted]:
        answers: list[Inserted] = await self._call("insert", items)
        return answers

    async def finish(self, items: Sequence[Finish]) -> list[WriteAnswer]:
        answers: list[WriteAnswer] = await self._call("finish", items)
        return answers

    async def record(self, items: Sequence[PreparedRecord]) -> list[int | None]:
        answers: list[int | None] = await self._call("record", items)
        return answers

    async def step(self, step: Callable[[Transaction], R]) -> R:
        """Do one move that has no batch of its own, inside the next commit."""
        answer: R = await self._call("step", [step])
        return answer

    async def claim(self, requests: Sequence[ClaimRequest]) -> list[Claims]:
        """Claim; what is claimed for a caller that has gone away meanwhile is given back."""
        call = self._enter("claim", requests)
        try:
            answers: list[Claims] = await call.future
        except asyncio.CancelledError:
            if call.future.done() and not call.future.cancelled() and call.future.exception() is None:
                self._give_back(call.future.result())
            raise
        return answers

    async def look(self, reading: Callable[[sqlite3.Connection], R]) -> R:
        """Run a short read on the writer's own connection, between two batches."""
        if self._connection is None:
            raise StoreUnavailable("the store is not open")
        try:
            return await run(self._connection, reading)
        except sqlite3.Error as error:
            raise typed(error) from error

    async def _call(self, kind: Kind, items: Sequence[Any]) -> Any:  # Any: each kind's answer; see Call
        return await self._enter(kind, items).future

    def _enter(self, kind: Kind, items: Sequence[Any]) -> Call:  # Any: see Call
        if self._task is None or self._task.done() or self._is_closing:
            raise StoreUnavailable("the store is not open")
        return self._make(kind, items, self._task.get_loop())

    def _make(self, kind: Kind, items: Sequence[Any], loop: asyncio.AbstractEventLoop) -> Call:  # Any: see Call
        call = Call(kind, items, loop.create_future(), loop.time())
        waiting = self._waiting.get(kind)
        if waiting is None:
            waiting = self._waiting[kind] = []
        waiting.append(call)
        self._wake.set()
        if self._timer is None:
            self._timer = loop.call_later(_WATCH_INTERVAL, self._watch)
        return call

    # Serving

    async def _serve(self) -> None:
        while True:
            if not self._waiting:
                if self._is_closing:
                    return
                self._wake.clear()
                await self._wake.wait()
            # What was left over is enough for a batch: its callers' next calls are made while it is in flight.
            for _ in range(0 if self._has_leftover else _GATHERING_PASSES):
                await asyncio.sleep(0)
            batch = self._take()
            if batch is not None:
                self._batch = batch
                try:
                    await self._commit(batch)
                finally:
                    self._batch = None
                self._answer(batch)

    def _take(self) -> Batch | None:
        waiting, self._waiting = self._waiting, {}
        self._has_leftover = False
        calls: dict[Kind, list[Call]] = {}
        for kind, entered in waiting.items():
            live = [call for call in entered if not call.future.done()]
            if live:
                calls[kind] = live
        inserts = calls.get("insert")
        if inserts is not None:
            taken = _bounded(inserts)
            if taken < len(inserts):
                calls["insert"], self._waiting["insert"] = inserts[:taken], inserts[taken:]
                self._has_leftover = True
        return Batch(calls) if calls else None

    async def _commit(self, batch: Batch) -> None:
        """Run the batch on the connection's thread, again and again while another process holds the lock."""
        connection = self._connection
        assert connection is not None
        try:
            is_done = await run(connection, lambda raw: self._run(raw, batch))
            while not is_done:
                # The other process sends no event when it lets go of the lock.
                await asyncio.sleep(random.uniform(*_BUSY_PAUSE))
                is_done = await run(connection, lambda raw: self._run(raw, batch))
        except Exception as error:
            # The service must live: whatever broke, its callers hear of it and the next batch gets its chance.
            _LOGGER.exception("a batch of the SQLite store failed")
            batch.fail(StoreUnavailable(f"the writer of the store failed: {error}"))

    def _run(self, connection: sqlite3.Connection, batch: Batch) -> bool:
        if not self._has_files(connection):
            batch.fail(StoreUnusable(f"{self._path} or its log was deleted or replaced: open the store again"))
            return True
        paused_for = self._guard.paused_for() if self._guard.is_paused() else 0
        has_room = not batch.has("insert") or free_bytes(self._path.parent) >= self._min_free_bytes

        opener = Opener(
            connection, self._known, self._lines, self._clock.now(), paused_for=paused_for, lock=self._lock_name
        )
        if connection.in_transaction:
            # Nothing should leave one open; if anything ever does, it must not lock everyone out.
            opener.undo()
        return batch.run(opener, has_room=has_room)

    def _has_files(self, connection: sqlite3.Connection) -> bool:
        """Tell whether the files are those that were opened: what is written into deleted ones nobody ever reads."""
        log = self._path.with_name(self._path.name + "-wal")
        try:
            found = (self._path.stat().st_ino, log.stat().st_ino)
        except FileNotFoundError:
            found = (0, 0)
        if self._files is None and all(found):
            self._files = found
        if found == self._files:
            return True
        # Our descriptors still reach a deleted log: what it holds is saved into the database.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return False

    def _answer(self, batch: Batch) -> None:
        for call in batch.every:
            if call.future.done():
                if call.kind == "claim" and call.answer is not None:
                    self._give_back(call.answer)
            elif call.error is not None:
                call.future.set_exception(call.error)
            else:
                call.future.set_result(call.answer)

    def _give_back(self, answers: Sequence[Claims]) -> None:
        """Return attempts that nobody will run: the caller was cancelled or told that the outcome is unknown."""
        move_id = secrets.token_bytes(8)
        leases = [
            (Lease(claim.owner, claim.id, claim.attempt, claim.ref), move_id)
            for answer in answers
            for claim in answer.claims
        ]
        if leases and self._task is not None:
            call = self._make("step", [partial(give_back, items=leases)], self._task.get_loop())
            call.future.add_done_callback(_log_failure)

    # Deadlines

    def _watch(self) -> None:
        """Answer the calls that have waited too long."""
        self._timer = None
        if self._task is None:
            return
        loop = self._task.get_loop()
        now = loop.time()
        for calls in self._waiting.values():
            for call in calls:
                if self._is_late(call, now):
                    call.future.set_exception(StoreUnavailable(f"the store did not get to this {call.kind} in time"))
        if self._batch is not None:
            late = [call for call in self._batch.every if self._is_late(call, now)]
            if late:
                self._give_up(self._batch, late)
        if self._waiting or self._batch is not None:
            self._timer = loop.call_later(_WATCH_INTERVAL, self._watch)

    def _give_up(self, batch: Batch, late: Sequence[Call]) -> None:
        was_withdrawn = batch.withdraw(late)
        for call in late:
            if was_withdrawn:
                error: Exception = StoreUnavailable("another process kept the store locked; nothing was written")
            else:
                error = OutcomeUnknown(f"this {call.kind} was handed to the store, which has not answered in time")
            call.future.set_exception(error)

    def _is_late(self, call: Call, now: float) -> bool:
        timeout = self._insert_timeout if call.kind == "insert" else self._call_timeout
        return now - call.at > timeout and not call.future.done()


def _bounded(inserts: Sequence[Call]) -> int:
    """Return how many calls fit into one batch; at least one."""
    items = size = 0
    for at, call in enumerate(inserts):
        items += len(call.items)
        size += sum(len(item.job.input) for item in call.items)
        if at and (items > _INSERTS or size > _INSERTED_BYTES):
            return at
    return len(inserts)


def _log_failure(future: asyncio.Future[Any]) -> None:  # Any: whatever the step answers
    if not future.cancelled() and (error := future.exception()) is not None:
        _LOGGER.warning("attempts of a caller that went away could not be given back: %s", error)
