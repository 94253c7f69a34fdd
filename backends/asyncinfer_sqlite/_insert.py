"""Accepting jobs: who answers for a submission already, whether there is room, and the rows that are written."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asyncinfer.abc import Inserted, Limits, NewJob, Subscription
from asyncinfer_sqlite._known import Head
from asyncinfer_sqlite._moves import MoveRow, owe, rows_of, subscriptions_of
from asyncinfer_sqlite._rows import INLINE_BYTES, PreparedJob
from asyncinfer_sqlite._sql import load
from asyncinfer_sqlite._transaction import Transaction

_SQL = load("insert")
_encode = msgspec.msgpack.Encoder().encode


def insert(tx: Transaction, items: Sequence[PreparedJob], *, has_room: bool) -> list[Inserted]:
    """Answer submissions in the contract's order (key, dedup, id, pruned id, limits), then write what is new."""
    inserting = _Inserting(tx, has_room=has_room)
    answers = [inserting.answer(item) for item in items]
    inserting.close()
    return answers


class _Inserting:
    """The items of one batch; an earlier one counts as stored for a later one."""

    def __init__(self, tx: Transaction, *, has_room: bool) -> None:
        self._tx = tx
        self._has_room = has_room
        self._numbers: dict[tuple[str, str], int] = {}
        self._rows: list[tuple[object, ...]] = []
        self._inputs: list[tuple[object, ...]] = []
        self._newest: dict[str, str] = {}

    def answer(self, item: PreparedJob) -> Inserted:
        job = item.job
        stored = self._answered_before(job)
        if stored is not None:
            return stored
        limit = self._limit_reached(job, item.limits)
        if limit:
            return Inserted("full", job.id, limit=limit)
        self._accept(item)
        return Inserted("inserted", job.id, "queued", "", "", self._tx.now)

    def write(self) -> None:
        self._tx.write(_SQL["insert"], self._rows)
        self._tx.write(_SQL["keep_input"], self._inputs)
        self._rows.clear()
        self._inputs.clear()

    def close(self) -> None:
        """Write what is left. Only now the largest ids move on: within the batch `_numbers` knows its own."""
        self.write()
        self._tx.known.newest_ids.update(self._newest)

    # Who answers already

    def _answered_before(self, job: NewJob) -> Inserted | None:
        tx = self._tx
        if job.key is not None:
            held = tx.one(_SQL["by_key"], (job.owner, "key", job.key.encode()))
            if held is not None:
                return self._answer_of(held[0], job)
        if job.dedup is not None:
            held = tx.one(_SQL["by_key"], (job.owner, "dedup", _dedup_key(job)))
            if held is not None and self._answers_for_duplicates(row := self._row(held[0]), held[1]):
                return self._existing(row, job)
        n = self._stored_number(job)
        return None if n is None else self._answer_of(n, job)

    def _stored_number(self, job: NewJob) -> int | None:
        n = self._numbers.get((job.owner, job.id))
        if n is not None:
            return n
        newest = self._tx.known.newest_ids.get(job.owner)
        if newest is None:
            row = self._tx.one(_SQL["newest_id"], (job.owner,))
            newest = self._tx.known.newest_ids[job.owner] = "" if row is None else row[0] or ""
        # Ids grow with time, so nearly every new one is past all that are stored: one look-up an owner, not one a job.
        if job.id > newest:
            return None
        row = self._tx.execute(_SQL["by_id"], (job.owner, job.id)).fetchone()
        return None if row is None else row[0]

    def _answer_of(self, n: int, job: NewJob) -> Inserted:
        row = self._row(n)
        is_same = row.fixed.fingerprint == job.fingerprint
        if row.is_tombstone:
            return Inserted("gone" if is_same or row.id == job.id else "conflict", row.id)
        if not is_same:
            return Inserted("conflict", row.id, row.status)
        return self._existing(row, job)

    def _answers_for_duplicates(self, row: MoveRow, until: int | None) -> bool:
        if row.status not in ("queued", "running", "succeeded"):
            return False
        return until is None or self._tx.now < until or self._tx.paused_for > 0

    def _existing(self, row: MoveRow, job: NewJob) -> Inserted:
        if job.subscriptions:
            self._subscribe(row, job.subscriptions)
        return Inserted("existing", row.id, row.status)

    def _subscribe(self, row: MoveRow, wanted: Sequence[Subscription]) -> None:
        tx = self._tx
        present = subscriptions_of(tx, row.n)
        added = [each for each in wanted if each not in present]
        if not added:
            return
        tx.write(_SQL["subscribe"], [(row.n, len(present) + at, _encode(each)) for at, each in enumerate(added)])
        tx.execute(_SQL["mark_subscribed"], (row.n,))
        tx.known.fresh.pop(row.n, None)
        if row.status not in ("queued", "running"):
            owe(tx, row, added)

    def _row(self, n: int) -> MoveRow:
        # What this batch has accepted must be in the table before it can answer for a later item.
        self.write()
        return rows_of(self._tx, [n])[n]

    # Room

    def _limit_reached(self, job: NewJob, limits: Limits) -> str:
        if not self._has_room:
            return "min_free_bytes"
        most_jobs, most_bytes = limits.of_queue(job.queue)
        queued_jobs, queued_bytes = self._tx.load(job.queue)
        if queued_jobs >= most_jobs:
            return "queued_jobs"
        if queued_bytes + len(job.input) > most_bytes:
            return "queued_bytes"
        quota = limits.owner_queued_jobs
        if quota is not None and self._tx.owner_load(job.owner) >= quota:
            return "owner_queued_jobs"
        return ""

    # Writing

    def _accept(self, item: PreparedJob) -> None:
        tx, job, size = self._tx, item.job, len(item.job.input)
        known, now = tx.known, tx.now
        n = tx.take_number()
        line = tx.line(job.model, job.queue)
        inline = job.input if size < INLINE_BYTES else None
        is_subscribed = bool(job.subscriptions)
        if job.not_before is None or job.not_before <= now:
            place, tag = "ready", tx.draw_tag(job.model, job.owner, job.priority)
            if inline is not None:
                known.keep_fresh(
                    Head(
                        n,
                        job.owner,
                        job.id,
                        line,
                        tag,
                        0,
                        0,
                        0,
                        job.expire_at,
                        now,
                        job.batch_key,
                        is_subscribed,
                        size,
                        job,
                        inline,
                        not_before=job.not_before,
                    )
                )
        else:
            place, tag, known.is_plain = "delayed", 0.0, None
        self._rows.append(
            (
                n,
                job.owner,
                job.id,
                line,
                place,
                tag,
                now,
                job.not_before,
                job.expire_at,
                job.batch_key,
                is_subscribed,
                size,
                item.fixed,
                inline,
            )
        )
        if inline is None:
            self._inputs.append((n, job.input))
        self._numbers[job.owner, job.id] = n
        if job.id > known.newest_ids[job.owner]:
            self._newest[job.owner] = max(job.id, self._newest.get(job.owner, ""))
        load = tx.load(job.queue)
        load[0] += 1
        load[1] += size
        tx.count(job.owner, line, None, "queued", size)
        if job.key is not None or job.dedup is not None or is_subscribed:
            self._accept_duties(n, job)

    def _accept_duties(self, n: int, job: NewJob) -> None:
        self.write()
        keys: list[tuple[object, ...]] = []
        if job.key is not None:
            keys.append((job.owner, "key", job.key.encode(), n, job.key_until))
        if job.dedup is not None:
            keys.append((job.owner, "dedup", _dedup_key(job), n, job.dedup_until))
        self._tx.write(_SQL["hold_key"], keys)
        subscriptions = [(n, at, _encode(each)) for at, each in enumerate(job.subscriptions)]
        self._tx.write(_SQL["subscribe"], subscriptions)


def _dedup_key(job: NewJob) -> bytes:
    return job.model.encode() + b"\0" + (job.dedup or b"")
