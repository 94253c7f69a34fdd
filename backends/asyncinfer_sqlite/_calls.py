"""The calls that share a commit, and how those of each kind are done together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from asyncinfer_sqlite import _claim, _finish, _insert, _record
from asyncinfer_sqlite._transaction import Transaction

Kind = Literal["record", "finish", "step", "insert", "claim"]
ORDER: tuple[Kind, ...] = ("record", "finish", "step", "insert", "claim")
"""Endings and renewals first, so that overload never expires a lease; a claim last, so that it finds what came in."""


class Call:
    """One caller's call: its items, and the future it waits on."""

    __slots__ = ("answer", "at", "error", "future", "is_withdrawn", "items", "kind")

    def __init__(self, kind: Kind, items: Sequence[Any], future: asyncio.Future[Any], at: float) -> None:
        # Any: the items and the answer of each kind have their own types, which the Writer's methods restore.
        self.kind: Kind = kind
        self.items = items
        self.future = future
        self.at = at
        self.answer: Any = None
        self.error: BaseException | None = None
        self.is_withdrawn = False


def apply(tx: Transaction, kind: Kind, calls: Sequence[Call], *, has_room: bool) -> None:
    """Do all calls of a kind as one; each gets its own part of the answers."""
    if kind == "step":
        for call in calls:
            call.answer = call.items[0](tx)
        return
    items = calls[0].items if len(calls) == 1 else [item for call in calls for item in call.items]
    share(calls, _answers(tx, kind, items, has_room))


def share(calls: Sequence[Call], answers: Sequence[Any]) -> None:
    """Hand each call its part of the answers."""
    start = 0
    for call in calls:
        end = start + len(call.items)
        call.answer = answers[start:end]
        start = end


def fail(calls: Sequence[Call], error: BaseException) -> None:
    """Hand each call an error."""
    for call in calls:
        call.answer, call.error = None, error


def _answers(tx: Transaction, kind: Kind, items: Sequence[Any], has_room: bool) -> Sequence[Any]:
    # Any: see Call.
    if kind == "finish":
        return _finish.finish(tx, items)
    if kind == "record":
        return _record.record(tx, items)
    if kind == "insert":
        return _insert.insert(tx, items, has_room=has_room)
    return _claim.claim(tx, items)
