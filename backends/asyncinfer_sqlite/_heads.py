"""The heads of the lines: what could be claimed next, a few at a time, checked before anything trusts it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from asyncinfer import lifecycle
from asyncinfer.abc import JobKey
from asyncinfer_sqlite._known import Head, Line
from asyncinfer_sqlite._moves import Ending, end, owe, rows_of, subscriptions_of
from asyncinfer_sqlite._rows import Row, asked, error_blob, fixed_of, fixed_or_default
from asyncinfer_sqlite._sql import Statement, load
from asyncinfer_sqlite._transaction import Transaction

SQL = load("claim")
_PROMOTED_AT_ONCE = 1_000


class Heads:
    """One ordered index of one line, from its front. Expired and damaged jobs are ended on the way."""

    def __init__(self, tx: Transaction, statement: Statement, key: tuple[object, ...], ahead: int) -> None:
        self._tx = tx
        self._statement = statement
        self._key = key
        self._ahead = ahead
        self._behind = (-1.0, 0)
        self._read: list[Head] = []
        self._is_exhausted = False
        self.held: set[str] = set()
        """Batch keys whose jobs are passed over."""

    def first(self, taken: set[int]) -> Head | None:
        """Return the first job that is not in `taken` and not held back, without consuming it."""
        while True:
            while self._read:
                head = self._read[-1]
                if head.n not in taken and head.batch_key not in self.held:
                    return head
                self._read.pop()
            if self._is_exhausted:
                return None
            self._read_on()

    def _read_on(self) -> None:
        heads, self._behind, self._is_exhausted = _page(self._tx, self._statement, self._key, self._behind, self._ahead)
        heads.reverse()
        self._read = heads


def mates(tx: Transaction, head: Head, ahead: int) -> Iterator[Head]:
    """Iterate over the jobs behind `head` that may join its batch, in fair order."""
    statement = SQL["mates" if head.batch_key else "plain_mates"]
    key: tuple[object, ...] = (head.line, head.batch_key) if head.batch_key else (head.line,)
    behind, is_exhausted = head.place, False
    while not is_exhausted:
        heads, behind, is_exhausted = _page(tx, statement, key, behind, ahead)
        yield from heads


def _page(
    tx: Transaction, statement: Statement, key: tuple[object, ...], behind: tuple[float, int], ahead: int
) -> tuple[list[Head], tuple[float, int], bool]:
    """Return the next heads, the place to go on behind, and whether nothing is beyond."""
    tag, n = behind
    numbers: list[int] = json.loads(tx.all(statement, (*key, tag, tag, n, ahead))[0][0])
    if not numbers:
        return [], behind, True
    fresh = tx.known.fresh
    read: dict[int, Row] = {}
    unknown = [n for n in numbers if n not in fresh]
    if unknown:
        read = {row[0]: row for row in tx.all(SQL["heads"], (json.dumps(unknown),))}
    heads = [head for n in numbers if (head := fresh.get(n) or _checked(tx, read[n])) is not None]
    last = fresh.get(numbers[-1])
    end_tag = read[numbers[-1]][4] if last is None else last.tag
    place = (end_tag if type(end_tag) is float else float("inf"), numbers[-1])
    return [head for head in heads if not _has_expired(tx, head)], place, len(numbers) < ahead


def lines_of(tx: Transaction, model: str) -> list[Line]:
    """Return the lines of a model."""
    lines = tx.known.lines_of_models.get(model)
    if lines is None:
        found = tx.all(SQL["lines"], (asked(model),))
        lines = [Line(number, queue, bool(is_paused)) for number, queue, is_paused in found]
        tx.known.lines_of_models[model] = lines
    return lines


def has_apart(tx: Transaction) -> bool:
    """Tell whether any delayed job or last chance waits: usually none does, and a claim need not look for them."""
    if tx.known.is_plain is None:
        tx.known.is_plain = not tx.all(SQL["has_apart"])[0][0]
    return not tx.known.is_plain


def promote(tx: Transaction, model: str) -> None:
    """Make delayed jobs of a model ready whose time has come, oldest first, a bounded number a call."""
    if tx.paused_for:
        return
    due = [row for line in lines_of(tx, model) for row in tx.all(SQL["due"], (line.number, tx.now, _PROMOTED_AT_ONCE))]
    due.sort(key=lambda row: (row[1], row[0]))
    values: list[tuple[object, ...]] = []
    for n, _, owner, crashes, blob in due[:_PROMOTED_AT_ONCE]:
        fixed = fixed_or_default(blob)
        is_solo = lifecycle.is_last_chance(crashes=crashes, crash_budget=fixed.crash_budget)
        values.append((n, "solo" if is_solo else "ready", tx.draw_tag(model, owner, fixed.priority)))
    tx.write(SQL["promote"], values)


def _checked(tx: Transaction, row: Row) -> Head | None:
    """Return a head as it was read; end it and return None when it cannot be trusted."""
    try:
        _check_types(row)
        n, owner, id_, line, tag, attempt, failures, crashes, expire_at, created_at, batch_key = row[:11]
        return Head(
            n,
            owner,
            id_,
            line,
            tag,
            attempt,
            failures,
            crashes,
            expire_at,
            created_at,
            batch_key,
            bool(row[11]),
            row[12],
            fixed_of(row[13]),
            row[14],
            bool(row[15]),
            row[18] if type(row[18]) is int else None,
            row[16],
        )
    except ValueError as error:
        _condemn(tx, row, str(error))
        tx.ended_heads.append(JobKey(str(row[1]), str(row[2])))
        return None


def _has_expired(tx: Transaction, head: Head) -> bool:
    """Tell whether a head has waited too long, and end it; while the clock is in doubt none has."""
    if head.expire_at is None or head.expire_at > tx.now or tx.paused_for:
        return False
    row = rows_of(tx, [head.n])[head.n]
    if row.status == "queued":
        error = lifecycle.expired_error(head.fixed.expire_code, head.attempt)
        end(tx, [Ending(row, "failed", error=error)])
        tx.ended_heads.append(JobKey(head.owner, head.id))
    return True


def _condemn(tx: Transaction, row: Row, reason: str) -> None:
    """Fail a queued job whose row cannot be read back, with what can still be trusted in it."""
    n, owner, _, line = row[:4]
    attempt, failures, crashes, input_bytes, revision = (_number(row[at]) for at in (5, 6, 7, 12, 16))
    fixed = fixed_or_default(row[13])
    subscriptions = subscriptions_of(tx, n)
    blob = error_blob(lifecycle.undecodable_error(reason, attempt))
    started_at = row[17] if type(row[17]) is int else None
    prune_at = tx.now + fixed.retention_record
    values = (revision + 1, attempt, failures, crashes, started_at, tx.now, prune_at, blob, bool(subscriptions), n)
    tx.execute(SQL["condemn"], values)
    tx.count(owner, line, "queued", "failed", input_bytes)
    if subscriptions:
        owe(tx, rows_of(tx, [n])[n], subscriptions)


def _number(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


_none = type(None)
_COLUMN_TYPES: tuple[tuple[type, ...], ...] = (
    (int,), (str,), (str,), (int,), (float,), (int,), (int,), (int,), (int, _none), (int,), (str,), (int,), (int,),
    (bytes,), (bytes, _none), (int,), (int,), (int, _none), (int, float, str, bytes, _none),
)  # fmt: skip
_known_shapes: set[tuple[type, ...]] = set()


def _check_types(row: Row) -> None:
    # SQLite holds any type in any column; a few shapes of rows are all there is, so each is judged once.
    shape = tuple(map(type, row))
    if shape in _known_shapes:
        return
    for at, (found, allowed) in enumerate(zip(shape, _COLUMN_TYPES, strict=True)):
        if found not in allowed:
            raise ValueError(f"column {at} holds {found.__name__}")
    _known_shapes.add(shape)
