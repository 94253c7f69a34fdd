"""One batch: the calls that share a commit, and the closure that runs it on the writer's thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from typing import Any, Literal, Protocol

from asyncinfer.abc import Inserted
from asyncinfer_sqlite import _claim, _finish, _insert, _record
from asyncinfer_sqlite._failures import is_busy, is_full, is_of_the_file, refused_insert, typed
from asyncinfer_sqlite._finish import Missed
from asyncinfer_sqlite._transaction import Transaction

Kind = Literal["record", "finish", "step", "insert", "claim"]
ORDER: tuple[Kind, ...] = ("record", "finish", "step", "insert", "claim")
"""Endings and renewals first, so that overload never expires a lease; a claim last, so that it finds what was inserted."""


class OpenTransaction(Protocol):
    """Return the shared state of a transaction that has begun; `is_careful` after a guarded write missed."""

    def __call__(self, *, is_careful: bool = False) -> Transaction: ...


class Call:
    """One caller's call: its items, and the future it waits on."""

    __slots__ = ("answer", "at", "error", "future", "is_withdrawn", "items", "kind")

    def __init__(self, kind: Kind, items: Sequence[Any], future: asyncio.Future[Any], at: float) -> None:
        # Any: the items and the answer of each kind have their own types, which the Writer's methods restore.
        self.kind = kind
        self.items = items
        self.future = future
        self.at = at
        self.answer: Any = None
        self.error: BaseException | None = None
        self.is_withdrawn = False


class Batch:
    """Calls by kind. `is_started` once BEGIN has succeeded: from then on nothing can be withdrawn."""

    def __init__(self, calls: dict[Kind, list[Call]]) -> None:
        self._calls = calls
        self._lock = threading.Lock()
        self._every = [call for kind in ORDER for call in calls.get(kind, ())]
        self.is_started = False

    def all(self) -> list[Call]:
        """Return the calls in the order in which they are done."""
        return [call for kind in ORDER for call in self._calls.get(kind, ())]

    def all_with_withdrawn(self) -> list[Call]:
        """Return every call that the batch was made of."""
        return self._every

    def has(self, kind: Kind) -> bool:
        """Tell whether there are calls of this kind."""
        return bool(self._calls.get(kind))

    def fail(self, error: BaseException) -> None:
        """Answer every call with this error, and do nothing."""
        _fail(self._every, error)
        self._calls = {}

    def withdraw(self, calls: Sequence[Call]) -> bool:
        """Take calls out if the batch has not started; tell whether it had not."""
        with self._lock:
            if not self.is_started:
                for call in calls:
                    call.is_withdrawn = True
            return not self.is_started

    def run(self, connection: sqlite3.Connection, open_transaction: OpenTransaction, has_room: bool) -> bool:
        """Do it in one transaction; False when another process holds the lock. Answers and errors stand in the calls."""
        if self._answer_idle_claims(open_transaction):
            return True
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if is_busy(error):
                return False
            _fail(self.all(), typed(error))
            return True
        with self._lock:
            self.is_started = True
            for kind, calls in self._calls.items():
                self._calls[kind] = [call for call in calls if not call.is_withdrawn and not call.future.cancelled()]
        self._run_started(connection, open_transaction, has_room)
        return True

    def _answer_idle_claims(self, open_transaction: OpenTransaction) -> bool:
        """Answer a batch of claims that find nothing without taking the write lock."""
        if any(calls for kind, calls in self._calls.items() if kind != "claim"):
            return False
        calls = self._calls.get("claim", [])
        requests = [request for call in calls for request in call.items]
        try:
            answers = _claim.look(open_transaction(), requests)
        except sqlite3.Error:
            return False
        if answers is not None:
            _share(calls, answers)
        return answers is not None

    def _run_started(
        self,
        connection: sqlite3.Connection,
        open_transaction: OpenTransaction,
        has_room: bool,
        *,
        is_careful: bool = False,
    ) -> None:
        tx: Transaction | None = None
        try:
            tx = open_transaction(is_careful=is_careful)
            for kind in ORDER:
                calls = self._calls.get(kind)
                if calls:
                    _apply(tx, kind, calls, has_room)
            tx.flush()
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  whatever failed, the transaction must end, and each caller must hear
            _roll_back(connection)
            if tx is not None:
                tx.forget()
            self._repair(connection, open_transaction, has_room, error)

    def _repair(
        self,
        connection: sqlite3.Connection,
        open_transaction: OpenTransaction,
        has_room: bool,
        error: Exception,
    ) -> None:
        if isinstance(error, Missed):
            self._begin_again(connection, open_transaction, has_room, is_careful=True)
        elif isinstance(error, sqlite3.Error) and is_full(error) and self._calls.get("insert"):
            # New jobs give way, so that what runs can still finish in what room is left.
            _fail(self._calls.pop("insert"), refused_insert(error))
            self._begin_again(connection, open_transaction, has_room)
        elif is_of_the_file(error):
            assert isinstance(error, sqlite3.Error)
            _fail(self.all(), typed(error))
        else:
            self._one_by_one(connection, open_transaction, has_room)

    def _begin_again(
        self,
        connection: sqlite3.Connection,
        open_transaction: OpenTransaction,
        has_room: bool,
        *,
        is_careful: bool = False,
    ) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            _fail(self.all(), typed(error))
            return
        self._run_started(connection, open_transaction, has_room, is_careful=is_careful)

    def _one_by_one(self, connection: sqlite3.Connection, open_transaction: OpenTransaction, has_room: bool) -> None:
        """Repeat a batch that failed, each item under its own savepoint, so that a bad one fails alone."""
        calls = self.all()
        try:
            connection.execute("BEGIN IMMEDIATE")
            for call in calls:
                _apply_alone(connection, open_transaction, call, has_room)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            _roll_back(connection)
            _fail(calls, typed(error))


def _fail(calls: Sequence[Call], error: BaseException) -> None:
    for call in calls:
        call.answer, call.error = None, error


def _apply(tx: Transaction, kind: Kind, calls: Sequence[Call], has_room: bool) -> None:
    if kind == "step":
        for call in calls:
            call.answer = call.items[0](tx)
        return
    items = calls[0].items if len(calls) == 1 else [item for call in calls for item in call.items]
    _share(calls, _answers(tx, kind, items, has_room))


def _answers(tx: Transaction, kind: Kind, items: Sequence[Any], has_room: bool) -> Sequence[Any]:
    # Any: see Call.
    if kind == "finish":
        return _finish.finish(tx, items)
    if kind == "record":
        return _record.record(tx, items)
    if kind == "insert":
        return _insert.insert(tx, items, has_room=has_room)
    return _claim.claim(tx, items)


def _share(calls: Sequence[Call], answers: Sequence[Any]) -> None:
    start = 0
    for call in calls:
        end = start + len(call.items)
        call.answer = answers[start:end]
        start = end


def _apply_alone(connection: sqlite3.Connection, open_transaction: OpenTransaction, call: Call, has_room: bool) -> None:
    answers: list[Any] = []
    groups = [call.items] if call.kind in ("step", "claim") else [[item] for item in call.items]
    for items in groups:
        connection.execute("SAVEPOINT item")
        try:
            part = Call(call.kind, items, call.future, call.at)
            tx = open_transaction(is_careful=True)
            _apply(tx, call.kind, [part], has_room)
            tx.flush()
        except Exception as error:
            open_transaction().forget()
            if is_of_the_file(error):
                raise
            connection.execute("ROLLBACK TO item")
            if call.kind != "insert":
                call.error = error
                connection.execute("RELEASE item")
                return
            answers.append(Inserted("bad", items[0].job.id, message=f"the job cannot be stored: {error}"))
        else:
            answers += [part.answer] if call.kind == "step" else part.answer
        connection.execute("RELEASE item")
    call.answer = answers[0] if call.kind == "step" else answers


def _roll_back(connection: sqlite3.Connection) -> None:
    # After a full disk or an I/O error SQLite may have rolled back by itself.
    if connection.in_transaction:
        connection.execute("ROLLBACK")
