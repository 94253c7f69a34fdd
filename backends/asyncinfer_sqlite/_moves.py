"""The two moves that end an attempt: into a terminal status with its owed event, or back to the queue."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import Struct

from asyncinfer import lifecycle
from asyncinfer.abc import JobError, Status, Subscription
from asyncinfer_sqlite._rows import DECODING_ERRORS, INLINE_BYTES, Fixed, Row, asked, error_blob, fixed_or_default
from asyncinfer_sqlite._sql import load
from asyncinfer_sqlite._transaction import Transaction, as_list

SQL = load("moves")
_LOGGER = logging.getLogger("asyncinfer.sqlite")
_ATTEMPTS_KEPT = 1_000
"""Two status events each: a job that is given back for ever must not grow for ever."""
_encode = msgspec.msgpack.Encoder().encode
_decode_subscription = msgspec.msgpack.Decoder(Subscription).decode


class MoveRow(Struct):
    """What the moves decide by. Changed in place, so that a later item of the same batch sees an earlier one's move."""

    n: int
    owner: str
    id: str
    line: int
    status: Status
    place: str | None
    revision: int
    attempt: int
    failures: int
    crashes: int
    renewals: int
    tag: float
    started_at: int | None
    finished_at: int | None
    cancel_requested_at: int | None
    worker: str | None
    is_subscribed: int
    input_bytes: int
    move_id: bytes | None
    expire_at: int | None
    fixed_blob: bytes

    @property
    def is_tombstone(self) -> bool:
        return self.status not in lifecycle.STATUSES

    @property
    def fixed(self) -> Fixed:
        return fixed_or_default(self.fixed_blob)


class ClaimRef(NamedTuple):
    """What a claim hands out and gets back with every write of its attempt."""

    n: int
    owner: str
    line: int
    is_subscribed: bool
    retention_result: int
    retention_record: int


class Named(Protocol):
    """Whatever names a job, perhaps with its row number as `ref`."""

    @property
    def owner(self) -> str: ...
    @property
    def id(self) -> str: ...


class Ending(Struct, gc=False):
    """A job about to end."""

    row: MoveRow
    status: Status
    error: JobError | None = None
    result: bytes | None = None
    move_id: bytes | None = None
    how: str | None = None
    """How its newest attempt ended, where the status does not say it."""
    failures: int = 0
    crashes: int = 0
    """What this move charges."""


class Return(Struct, gc=False):
    """A running job about to be queued again."""

    row: MoveRow
    how: str
    error: JobError | None = None
    move_id: bytes | None = None
    not_before: int | None = None
    keeps_tag: bool = True
    failures: int = 0
    crashes: int = 0


def rows_of(tx: Transaction, numbers: Iterable[int]) -> dict[int, MoveRow]:
    """Return jobs by row number; unknown ones are missing."""
    return {row[0]: _move_row(row) for row in tx.all(SQL["rows"], (as_list(numbers),))}


def _move_row(row: Row) -> MoveRow:
    """Return a row that the moves can reckon with: a damaged one must not stop all that share its batch.

    What is no use counts as its default, but not what only is compared: the fence of a damaged attempt does not hold.
    """
    shape = tuple(map(type, row))
    if shape not in _sound_shapes:
        sound: list[Any] = [  # Any: see Row
            value if type(value) in allowed else default
            for value, (allowed, default) in zip(row, _SOUND_COLUMNS, strict=True)
        ]
        if tuple(map(type, sound)) != shape:
            return MoveRow(*sound)
        _sound_shapes.add(shape)
    return MoveRow(*row)


_none = type(None)
_ANYTHING = (int, str, bytes, float, _none)
_SOUND_COLUMNS: tuple[tuple[tuple[type, ...], object], ...] = (
    (_ANYTHING, None), (_ANYTHING, None), (_ANYTHING, None), (_ANYTHING, None), (_ANYTHING, None), (_ANYTHING, None),
    ((int,), 1), (_ANYTHING, 0), ((int,), 0), ((int,), 0), (_ANYTHING, 0), ((float,), 0.0), ((int, _none), 0),
    ((int, _none), 0), ((int, _none), None), ((str, _none), ""), ((int,), 1), ((int,), 0), ((bytes, _none), None),
    ((int, _none), None), ((bytes,), b""),
)  # fmt: skip
_sound_shapes: set[tuple[type, ...]] = set()


def rows_named(tx: Transaction, names: Sequence[Named]) -> list[MoveRow | None]:
    """Return each named job, or None. The same job is the same object."""
    numbers = [_number(tx, name) for name in names]
    rows = rows_of(tx, {n for n in numbers if n is not None})
    found: list[MoveRow | None] = []
    for name, n in zip(names, numbers, strict=True):
        row = None if n is None else rows.get(n)
        # A row number that came from elsewhere names nothing.
        found.append(row if row is not None and row.id == name.id and row.owner == name.owner else None)
    return found


def _number(tx: Transaction, name: Named) -> int | None:
    ref = getattr(name, "ref", None)
    if isinstance(ref, ClaimRef):
        return ref.n
    row = tx.execute(SQL["number"], (asked(name.owner), asked(name.id))).fetchone()
    return None if row is None else row[0]


def holds(row: MoveRow | None, attempt: int) -> bool:
    """Tell whether the fence (running, attempt) holds."""
    return row is not None and row.status == "running" and row.attempt == attempt


def was_done(tx: Transaction, row: MoveRow | None, attempt: int, move_id: bytes) -> bool:
    """Tell whether the same write has already ended this attempt."""
    if row is None:
        return False
    if row.attempt == attempt and row.status != "queued" and row.move_id == move_id:
        return True
    found = tx.execute(SQL["earlier_move"], (row.n, attempt)).fetchone()
    return found is not None and found[0] == move_id


def end(tx: Transaction, endings: Sequence[Ending]) -> None:
    """Move jobs into terminal statuses: result, error, counters and owed events in one step."""
    if not endings:
        return
    changed = tx.write(SQL["end"], [_end_values(tx, ending) for ending in endings])
    _expect(changed, len(endings))
    tx.write(
        SQL["keep_result"],
        [(each.row.n, each.result) for each in endings if each.result is not None and len(each.result) >= INLINE_BYTES],
    )
    drop_checkpoints(tx, [each.row.n for each in endings])
    for ending in endings:
        row = ending.row
        tx.known.fresh.pop(row.n, None)
        tx.count(row.owner, row.line, row.status, ending.status, row.input_bytes)
        row.status, row.place, row.move_id = ending.status, None, ending.move_id
        row.finished_at = tx.now
        row.revision += 1
        row.failures += ending.failures
        row.crashes += ending.crashes
        if row.is_subscribed:
            owe(tx, row, subscriptions_of(tx, row.n))


def drop_checkpoints(tx: Transaction, numbers: Sequence[int]) -> None:
    """Drop what only a later attempt would have needed."""
    known = tx.known
    if known.has_checkpoints is None:
        known.has_checkpoints = bool(tx.all(SQL["has_checkpoints"])[0][0])
    if known.has_checkpoints:
        tx.execute(SQL["drop_checkpoints"], (as_list(numbers),))


def _end_values(tx: Transaction, ending: Ending) -> tuple[object, ...]:
    row, result, fixed = ending.row, ending.result, ending.row.fixed
    size = None if result is None else len(result)
    keep = fixed.retention_record if size is None else min(fixed.retention_result, fixed.retention_record)
    return (
        row.n,
        row.status,
        row.attempt,
        ending.status,
        row.failures + ending.failures,
        row.crashes + ending.crashes,
        tx.now,
        tx.now + keep,
        size,
        result if size is not None and size < INLINE_BYTES else None,
        error_blob(ending.error),
        ending.move_id,
        ending.how,
    )


def owe(tx: Transaction, row: MoveRow, subscriptions: Sequence[Subscription]) -> None:
    """Write the owed event of a terminal job for these subscriptions."""
    blob = _encode(tuple(subscriptions))
    tx.write(SQL["owe"], [(row.n, row.owner, row.id, row.status, row.finished_at, row.revision, row.finished_at, blob)])


def subscriptions_of(tx: Transaction, n: int) -> list[Subscription]:
    """Return who must hear of a job's ending. A subscription that cannot be read back names nobody who could."""
    found: list[Subscription] = []
    for (blob,) in tx.all(SQL["subscriptions"], (n,)):
        try:
            found.append(_decode_subscription(blob))
        except DECODING_ERRORS as error:
            _LOGGER.error("job number %d: a subscription cannot be read back and is not told: %s", n, error)
    return found


def queue_again(tx: Transaction, returns: Sequence[Return]) -> None:
    """Move running jobs back to the queue, keeping what their attempt left."""
    if not returns:
        return
    tx.write(SQL["keep_attempt"], [_attempt_values(tx, each) for each in returns])
    _expect(tx.write(SQL["queue_again"], [_return_values(tx, each) for each in returns]), len(returns))
    for each in returns:
        row = each.row
        tx.count(row.owner, row.line, "running", "queued", row.input_bytes)
        row.status, row.worker, row.move_id = "queued", None, None
        row.revision += 1
        row.failures += each.failures
        row.crashes += each.crashes
        if row.attempt > _ATTEMPTS_KEPT:
            tx.execute(SQL["drop_attempts"], (row.n, row.attempt - _ATTEMPTS_KEPT))


def _attempt_values(tx: Transaction, each: Return) -> tuple[object, ...]:
    row = each.row
    return (
        row.n,
        row.attempt,
        row.worker,
        row.started_at,
        tx.now,
        each.how,
        error_blob(each.error),
        each.move_id,
        row.revision + 1,
    )


def _return_values(tx: Transaction, each: Return) -> tuple[object, ...]:
    row, fixed = each.row, each.row.fixed
    crashes = row.crashes + each.crashes
    if not each.keeps_tag and each.not_before is not None and each.not_before > tx.now:
        place, row.tag = "delayed", 0.0
    else:
        place = "solo" if lifecycle.is_last_chance(crashes=crashes, crash_budget=fixed.crash_budget) else "ready"
        if not each.keeps_tag:
            model, _ = tx.names(row.line)
            row.tag = tx.draw_tag(model, row.owner, fixed.priority)
    row.place = place
    if place != "ready":
        tx.known.is_plain = None
    return (row.n, row.attempt, place, row.failures + each.failures, crashes, row.tag, each.not_before)


def _expect(changed: int, wanted: int) -> None:
    # The rows were read in this very transaction: anything else means that the file was damaged under us.
    if changed != wanted:
        raise RuntimeError(f"a batch moved {changed} jobs where {wanted} were to move")
