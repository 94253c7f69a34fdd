"""What running attempts have to tell: renewals of their leases, progress, output and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from asyncinfer.abc import ExtendAnswer, Lease, Progress, Record
from asyncinfer_sqlite._moves import MoveRow, holds, rows_named
from asyncinfer_sqlite._sql import load
from asyncinfer_sqlite._transaction import Transaction

_SQL = load("worker")
encode_progress = msgspec.msgpack.Encoder().encode
decode_progress = msgspec.msgpack.Decoder(Progress).decode


class PreparedRecord(Struct, frozen=True, gc=False):
    """A record whose progress is encoded, with the bound on the job's output events."""

    record: Record
    progress: bytes | None
    events_kept: int

    @property
    def owner(self) -> str:
        return self.record.owner

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def ref(self) -> object:
        return self.record.ref


def extend(tx: Transaction, worker: str, leases: Sequence[Lease], lease: int) -> list[ExtendAnswer]:
    """Count a renewal for each lease that holds, and keep the worker registered."""
    answers: list[ExtendAnswer] = []
    renewed: list[tuple[object, ...]] = []
    for item, row in zip(leases, rows_named(tx, leases), strict=True):
        if row is None or not holds(row, item.attempt):
            answers.append("lost")
            continue
        renewed.append((row.n, row.attempt))
        answers.append("held" if row.cancel_requested_at is None else "cancel")
    tx.write(_SQL["extend"], renewed)
    tx.execute(_SQL["keep_worker"], (tx.now + lease, worker))
    return answers


def record(tx: Transaction, items: Sequence[PreparedRecord]) -> list[int | None]:
    """Store what attempts report that still hold their lease; each progress and each output value is one revision."""
    answers: list[int | None] = []
    told = _Told()
    moved: dict[int, MoveRow] = {}
    for item, row in zip(items, rows_named(tx, items), strict=True):
        if row is None or not holds(row, item.record.attempt):
            answers.append(None)
            continue
        move_id = item.record.move_id
        if not move_id or row.move_id != move_id:
            told.add(tx, item, row)
            # While an attempt runs, the column names its newest write; the one that ends it comes next.
            row.move_id = move_id or None
            moved[row.n] = row
        answers.append(row.revision)
    told.write(tx)
    tx.write(_SQL["record"], [(row.n, row.attempt, row.revision, row.move_id) for row in moved.values()])
    return answers


class _Told:
    """What a batch of records writes."""

    def __init__(self) -> None:
        self._progress: dict[int, tuple[object, ...]] = {}
        self._outputs: list[tuple[object, ...]] = []
        self._checkpoints: dict[int, bytes] = {}
        self._emitted: dict[int, list[int]] = {}

    def add(self, tx: Transaction, item: PreparedRecord, row: MoveRow) -> None:
        if item.progress is not None:
            row.revision += 1
            self._progress[row.n] = (row.n, item.progress, row.revision, row.attempt, tx.now)
        for data in item.record.output:
            row.revision += 1
            self._outputs.append((row.n, row.revision, row.attempt, tx.now, data))
        if item.record.output:
            count = self._emitted.setdefault(row.n, [0, 0])
            count[0] += len(item.record.output)
            count[1] = item.events_kept
        if item.record.checkpoint is not None:
            self._checkpoints[row.n] = item.record.checkpoint

    def write(self, tx: Transaction) -> None:
        tx.write(_SQL["progress"], list(self._progress.values()))
        tx.write(_SQL["outputs"], self._outputs)
        if self._checkpoints:
            tx.known.has_checkpoints = True
        tx.write(_SQL["checkpoint"], list(self._checkpoints.items()))
        for n, (added, kept) in self._emitted.items():
            (count,) = tx.all(_SQL["count_outputs"], (n, added))[0]
            if count > kept:
                _drop_oldest(tx, n, count - kept)


def _drop_oldest(tx: Transaction, n: int, count: int) -> None:
    newest = tx.execute(_SQL["oldest_outputs"], (n, count)).fetchone()[0]
    tx.execute(_SQL["drop_outputs"], (n, newest))
    tx.execute(_SQL["note_dropped"], (count, newest, n))
