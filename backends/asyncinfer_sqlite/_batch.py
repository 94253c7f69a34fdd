"""One batch: calls that share a commit, run as one closure on the writer's thread, whatever goes wrong in it."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence
from typing import Any

from asyncinfer.abc import Inserted
from asyncinfer.errors import OutcomeUnknown
from asyncinfer_sqlite import _claim
from asyncinfer_sqlite._calls import ORDER, Call, Kind, apply, fail, share
from asyncinfer_sqlite._failures import is_busy, is_full, is_of_the_file, refused_insert, typed, unreadable
from asyncinfer_sqlite._finish import Missed
from asyncinfer_sqlite._transaction import Opener, Transaction

_LOGGER = logging.getLogger("asyncinfer.sqlite")


class Batch:
    """Calls by kind. While `is_started`, BEGIN has succeeded and nothing can be withdrawn."""

    def __init__(self, calls: dict[Kind, list[Call]]) -> None:
        self.every = [call for kind in ORDER for call in calls.get(kind, ())]
        """All calls, in the order in which they are done."""
        self.is_started = False
        self._calls = calls
        self._lock = threading.Lock()
        self._is_careful = False

    def has(self, kind: Kind) -> bool:
        """Tell whether there are calls of this kind."""
        return bool(self._calls.get(kind))

    def fail(self, error: BaseException) -> None:
        """Answer every call with this error, and do nothing."""
        fail(self.every, error)
        self._calls = {}

    def withdraw(self, calls: Sequence[Call]) -> bool:
        """Take calls out if the batch has not started; tell whether it had not."""
        with self._lock:
            if not self.is_started:
                for call in calls:
                    call.is_withdrawn = True
            return not self.is_started

    def run(self, opener: Opener, *, has_room: bool) -> bool:
        """Do it in one transaction; False when another process holds the lock. The calls then have their answers."""
        if self._answer_idle_claims(opener):
            return True
        if (refused := self._begin(opener)) is not None:
            return refused
        try:
            self._apply(opener.open(is_careful=self._is_careful), has_room)
        except Missed:
            self._undo(opener)
            self._is_careful = True
            return self.run(opener, has_room=has_room)
        except Exception as error:  # noqa: BLE001
            # A driver's refusal, a decode that nobody foresaw: whatever it was, the transaction ends and callers hear.
            self._undo(opener)
            return self._repair(opener, error, has_room=has_room)
        self._commit(opener)
        return True

    def _all(self) -> list[Call]:
        return [call for kind in ORDER for call in self._calls.get(kind, ())]

    def _answer_idle_claims(self, opener: Opener) -> bool:
        """Answer a batch of claims that find nothing without taking the write lock."""
        if any(calls for kind, calls in self._calls.items() if kind != "claim"):
            return False
        calls = self._calls.get("claim", [])
        try:
            answers = _claim.look(opener.open(), [request for call in calls for request in call.items])
        except sqlite3.Error:
            return False
        if answers is not None:
            share(calls, answers)
        return answers is not None

    def _begin(self, opener: Opener) -> bool | None:
        """Begin; or return what `run` returns when that was not possible."""
        try:
            opener.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            if is_busy(error):
                return False
            fail(self._all(), typed(error))
            return True
        with self._lock:
            self.is_started = True
            for kind, calls in self._calls.items():
                self._calls[kind] = [call for call in calls if not call.is_withdrawn and not call.future.cancelled()]
        return None

    def _apply(self, tx: Transaction, has_room: bool) -> None:
        for kind in ORDER:
            calls = self._calls.get(kind)
            if calls:
                apply(tx, kind, calls, has_room=has_room)
        tx.flush()

    def _commit(self, opener: Opener) -> None:
        try:
            opener.connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._undo(opener)
            # A log that was written but not known to be on disk may still be found by the next who opens it.
            is_unchanged = is_busy(error) or is_full(error)
            fail(self._all(), typed(error) if is_unchanged else OutcomeUnknown(f"the commit failed: {error}"))

    def _undo(self, opener: Opener) -> None:
        opener.undo()
        with self._lock:
            self.is_started = False

    def _repair(self, opener: Opener, error: Exception, *, has_room: bool) -> bool:
        if isinstance(error, sqlite3.Error) and is_full(error) and self.has("insert"):
            # New jobs give way, so that what runs can still finish in what room is left.
            fail(self._calls.pop("insert"), refused_insert(error))
            return self.run(opener, has_room=has_room)
        if isinstance(error, sqlite3.Error) and is_of_the_file(error):
            fail(self._all(), typed(error))
            return True
        return self._one_by_one(opener, has_room=has_room)

    def _one_by_one(self, opener: Opener, *, has_room: bool) -> bool:
        """Repeat a batch that failed, each item under its own savepoint, so that a bad one fails alone."""
        if (refused := self._begin(opener)) is not None:
            return refused
        try:
            for call in self._all():
                _apply_alone(opener, call, has_room=has_room)
        except sqlite3.Error as error:
            self._undo(opener)
            fail(self._all(), typed(error))
            return True
        self._commit(opener)
        return True


def _answer_of_bad(kind: Kind, item: Any, error: Exception) -> object:  # Any: see Call
    """Return the answer to an item that cannot be done: an attempt that cannot be written has lost its lease."""
    if kind == "insert":
        return Inserted("bad", item.job.id, message=f"the job cannot be stored: {error}")
    _LOGGER.error("job %s: its %s failed on what is stored, and is dropped", item.id, kind, exc_info=error)
    return "lost" if kind == "finish" else None


def _apply_alone(opener: Opener, call: Call, *, has_room: bool) -> None:
    answers: list[Any] = []  # Any: see Call
    groups = [call.items] if call.kind in ("step", "claim") else [[item] for item in call.items]
    for items in groups:
        part = Call(call.kind, items, call.future, call.at)
        opener.connection.execute("SAVEPOINT item")
        try:
            tx = opener.open(is_careful=True)
            apply(tx, call.kind, [part], has_room=has_room)
            tx.flush()
        except Exception as error:
            if is_of_the_file(error):
                raise
            opener.undo_to("item")
            if call.kind in ("step", "claim"):
                call.error = unreadable(error)
                return
            answers.append(_answer_of_bad(call.kind, items[0], error))
        else:
            answers += [part.answer] if call.kind == "step" else part.answer
        finally:
            if opener.connection.in_transaction:
                opener.connection.execute("RELEASE item")
    call.answer = answers[0] if call.kind == "step" else answers
