"""The heads of the lines: what could be claimed next, read a few at a time and checked before anything trusts it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from asyncinfer import lifecycle
from asyncinfer.abc import JobKey, Status
from asyncinfer_sqlite._moves import Ending, MoveRow, end, owe, subscriptions_of
from asyncinfer_sqlite._rows import Fixed, Row, asked, error_blob, fixed_of, fixed_or_default
from asyncinfer_sqlite._sql import Statement, load
from asyncinfer_sqlite._transaction import Line, Transaction

SQL = load("claim")
_MOVE_COLUMNS = 20
_PROMOTED_AT_ONCE = 1_000


class Head(Struct, gc=False):
    """A job that may be claimed now."""

    row: MoveRow
    fixed: Fixed
    created_at: int
    batch_key: str
    input: bytes | None

    @property
    def place(self) -> tuple[float, int]:
        return self.row.tag, self.row.n


class Heads:
    """One ordered index of one line, from its front. Expired and damaged jobs are ended on the way."""

    def __init__(self, tx: Transaction, statement: Statement, key: tuple[object, ...], ahead: int) -> None:
        self._tx = tx
        self._statement = statement
        self._key = key
        self._ahead = ahead
        self._behind: tuple[float, int] = (-1.0, 0)
        self._read: list[Row] = []
        self._at = 0
        self._head: Head | None = None

    def first(self, taken: set[int]) -> Head | None:
        """Return the first job that is not in `taken`, without consuming it."""
        while self._head is None or self._head.row.n in taken:
            row = self._next_row()
            if row is None:
                return None
            self._head = None if row[0] in taken else open_head(self._tx, row)
        return self._head

    def _next_row(self) -> Row | None:
        if self._at == len(self._read):
            if self._read and len(self._read) < self._ahead:
                return None
            tag, n = self._behind
            self._read = self._tx.all(self._statement, (*self._key, tag, tag, n, self._ahead))
            self._at = 0
            if not self._read:
                return None
            self._behind = (self._read[-1][11], self._read[-1][0])
        row = self._read[self._at]
        self._at += 1
        return row


def mates(tx: Transaction, head: Head, ahead: int) -> Iterator[Head]:
    """Iterate over the jobs behind `head` that may join its batch, in fair order."""
    statement, key = (
        (SQL["mates"], (head.row.line, head.batch_key)) if head.batch_key else (SQL["plain_mates"], (head.row.line,))
    )
    tag, n = head.place
    while rows := tx.all(statement, (*key, tag, tag, n, ahead)):
        for row in rows:
            mate = open_head(tx, row)
            if mate is not None:
                yield mate
        tag, n = rows[-1][11], rows[-1][0]


def lines_of(tx: Transaction, model: str) -> list[Line]:
    """Return the lines of a model."""
    lines = tx.lines_of_models.get(model)
    if lines is None:
        found = tx.all(SQL["lines"], (asked(model),))
        lines = [Line(number, queue, bool(is_paused)) for number, queue, is_paused in found]
        tx.lines_of_models[model] = lines
    return lines


def open_head(tx: Transaction, row: Row) -> Head | None:
    """Check a queued row; end it and return None when it has expired or cannot be read."""
    try:
        _check_types(row)
        head = Head(MoveRow(*row[:_MOVE_COLUMNS]), fixed_of(row[19]), row[20], row[21], row[22])
    except ValueError as error:
        condemn(tx, row, str(error))
        tx.ended_heads.append(JobKey(str(row[1]), str(row[2])))
        return None
    expire_at = head.row.expire_at
    if expire_at is not None and expire_at <= tx.now and not tx.paused_for:
        error = lifecycle.expired_error(head.fixed.expire_code, head.row.attempt)
        end(tx, [Ending(head.row, "failed", error=error)])
        tx.ended_heads.append(JobKey(head.row.owner, head.row.id))
        return None
    return head


def promote(tx: Transaction, model: str, lines: list[Line]) -> None:
    """Make delayed jobs of a model ready whose time has come, oldest first, a bounded number a call."""
    if tx.paused_for:
        return
    due = [(*row, line) for line in lines for row in tx.all(SQL["due"], (line.number, tx.now, _PROMOTED_AT_ONCE))]
    if not due:
        return
    due.sort(key=lambda row: (row[1], row[0]))
    values: list[tuple[object, ...]] = []
    for n, _, owner, crashes, blob, _ in due[:_PROMOTED_AT_ONCE]:
        fixed = fixed_or_default(blob)
        is_solo = lifecycle.is_last_chance(crashes=crashes, crash_budget=fixed.crash_budget)
        values.append((n, "solo" if is_solo else "ready", tx.draw_tag(model, owner, fixed.priority)))
    tx.write(SQL["promote"], values)


def condemn(tx: Transaction, row: Row, reason: str) -> None:
    """Fail a queued job whose row cannot be read back, with what can still be trusted in it."""
    numbers = [value if type(value) is int and value >= 0 else 0 for value in row[6:11]]
    revision, attempt, failures, crashes, _ = numbers
    n, owner, id_, line = row[:4]
    fixed = fixed_or_default(row[19])
    subscriptions = subscriptions_of(tx, n)
    blob = error_blob(lifecycle.undecodable_error(reason, attempt))
    started_at = row[12] if type(row[12]) is int else None
    prune_at = tx.now + fixed.retention_record
    values = (revision + 1, attempt, failures, crashes, started_at, tx.now, prune_at, blob, bool(subscriptions), n)
    tx.execute(SQL["condemn"], values)
    status: Status = "failed"
    input_bytes = row[16] if type(row[16]) is int else 0
    tx.count(owner, line, "queued", status, input_bytes)
    if subscriptions:
        ended = MoveRow(*row[:_MOVE_COLUMNS])
        ended.id, ended.status, ended.revision = str(id_), status, revision + 1
        owe(tx, ended, tx.now, subscriptions)


_none = type(None)
_COLUMN_TYPES: tuple[tuple[type, ...], ...] = (
    (int,), (str,), (str,), (int,), (str,), (str,), (int,), (int,), (int,), (int,), (int,), (float,), (int, _none),
    (int, _none), (str, _none), (int,), (int,), (bytes, _none), (int, _none), (bytes,), (int,), (str,), (bytes, _none),
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
