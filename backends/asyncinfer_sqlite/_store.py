"""The store itself: each call of the contract, handed to the writer or to a reader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from asyncinfer.abc import (
    Attempt,
    CancelAnswer,
    ClaimRequest,
    Claims,
    Clock,
    ClockGuard,
    Counts,
    EventPage,
    ExtendAnswer,
    Finish,
    Inserted,
    Job,
    JobFilter,
    JobKey,
    JobPage,
    JobStore,
    Lease,
    Limits,
    NewJob,
    PublishedModel,
    Record,
    RescueAnswer,
    RunningLease,
    StoreFeatures,
    SystemClock,
    WorkerInfo,
    WriteAnswer,
)
from asyncinfer.errors import InvalidOption
from asyncinfer_sqlite import _cancel, _counts, _find, _finish, _forget, _jobs, _record, _workers
from asyncinfer_sqlite._connections import Synchronous
from asyncinfer_sqlite._database import Database
from asyncinfer_sqlite._location import path_of_url
from asyncinfer_sqlite._outbox import SQLiteOutbox
from asyncinfer_sqlite._record import PreparedRecord, encode_progress
from asyncinfer_sqlite._rows import PreparedJob, prepare
from asyncinfer_sqlite._sql import load
from asyncinfer_sqlite._transaction import Transaction

MIB = 1024 * 1024
_MOVED_AT_ONCE = 500
"""Jobs that one commit cancels or deletes by a filter: other callers get their turn between."""
_DURABILITY = {
    "FULL": "survives the death of the process and of the machine",
    "EXTRA": "survives the death of the process and of the machine",
    "NORMAL": "survives the death of the process; a power cut may lose the last moments",
    "OFF": "survives the death of the process; a power cut may damage the file",
}
_SQL = load("look")


class SQLiteStore(JobStore):
    """Jobs in one SQLite file, which any number of processes of one host may open at once."""

    schemes = ("sqlite",)

    def __init__(
        self,
        path: Path | str,
        *,
        clock: Clock | None = None,
        min_free_bytes: int = 64 * MIB,
        synchronous: Synchronous = "FULL",
        call_timeout: float = 2.0,
        insert_timeout: float = 5.0,
    ) -> None:
        """Name the file; `open` creates it.

        Below `min_free_bytes` of free disk new jobs are refused, so that running ones can still finish. `synchronous`
        is SQLite's own; anything below FULL may lose acknowledged jobs in a power cut. The timeouts are in seconds.
        """
        if synchronous not in _DURABILITY:
            raise InvalidOption(f"synchronous: expected one of {', '.join(_DURABILITY)}, got {synchronous!r}")
        self.clock = SystemClock() if clock is None else clock
        self.clock_guard = ClockGuard(self.clock)
        """Says whether expiry, pruning and promotion pause because the clock has jumped."""
        self._database = Database(
            Path(path).absolute(),
            self.clock,
            self.clock_guard,
            min_free_bytes=min_free_bytes,
            synchronous=synchronous,
            call_timeout=call_timeout,
            insert_timeout=insert_timeout,
        )
        self._writer = self._database.writer
        self._reader = self._database.reader
        self._lines = self._database.reader_lines
        self.outbox = SQLiteOutbox(self._writer, self._reader)
        self.features = StoreFeatures(
            is_durable=True, is_shared=True, durability=_DURABILITY[synchronous], proves_death=False
        )

    @classmethod
    def from_url(cls, url: str) -> SQLiteStore:
        return cls(path_of_url(url))

    @property
    def path(self) -> Path:
        """The file, absolute."""
        return self._database.path

    async def open(self) -> None:
        await self._database.open()
        self.features = StoreFeatures(
            is_durable=True,
            is_shared=True,
            durability=self.features.durability,
            proves_death=self._database.lock.proves_death,
        )

    async def close(self) -> None:
        await self._database.close()

    # The life of a job

    def notices(self) -> Sequence[str]:
        return self.clock_guard.notices()

    async def insert(self, jobs: Sequence[NewJob], limits: Limits) -> Sequence[Inserted]:
        checked = [prepare(job, limits) for job in jobs]
        fit = [item for item in checked if isinstance(item, PreparedJob)]
        if len(fit) == len(checked):
            return await self._writer.insert(fit) if fit else []
        answers = iter(await self._writer.insert(fit) if fit else [])
        return [next(answers) if isinstance(item, PreparedJob) else item for item in checked]

    async def claim(self, requests: Sequence[ClaimRequest]) -> Sequence[Claims]:
        for request in requests:
            self.clock_guard.lease = request.lease
        return await self._writer.claim(requests) if requests else []

    async def extend(self, worker: str, leases: Sequence[Lease], lease: int) -> Sequence[ExtendAnswer]:
        self.clock_guard.lease = lease
        return await self._writer.step(lambda tx: _record.extend(tx, worker, leases, lease))

    async def record(self, items: Sequence[Record], limits: Limits) -> Sequence[int | None]:
        prepared = [
            PreparedRecord(
                item, None if item.progress is None else encode_progress(item.progress), limits.events_per_job
            )
            for item in items
        ]
        return await self._writer.record(prepared) if prepared else []

    async def finish(self, items: Sequence[Finish]) -> Sequence[WriteAnswer]:
        return await self._writer.finish(items) if items else []

    async def give_back(self, leases: Sequence[Lease], move_id: bytes) -> Sequence[WriteAnswer]:
        return await self._writer.step(lambda tx: _finish.give_back(tx, [(lease, move_id) for lease in leases]))

    async def request_cancel(
        self, keys: Sequence[JobKey] | None = None, *, owner: str | None = None, matching: JobFilter | None = None
    ) -> Sequence[tuple[JobKey, CancelAnswer | None]]:
        if keys is not None:
            return await self._writer.step(lambda tx: _cancel.request_cancel(tx, keys, ()))
        answers: list[tuple[JobKey, CancelAnswer | None]] = []
        async for found, selected in self._selected(owner, matching):
            answers += await self._writer.step(partial(_cancel.request_cancel, keys=found, statuses=selected.status))
        return answers

    async def leases(self, after: JobKey | None, limit: int) -> Sequence[RunningLease]:
        return await self._reader.run(lambda db: _workers.leases(db, self._database.lock, after, limit))

    async def rescue(self, items: Sequence[RunningLease]) -> Sequence[RescueAnswer]:
        return await self._writer.step(lambda tx: _finish.rescue(tx, items))

    async def expire(self, limit: int) -> Sequence[JobKey]:
        # Looked at by every manager every second: without the lock as long as there is nothing to do.
        if not await self._reader.run(partial(_cancel.has_expired, now=self.clock.now())):
            return []
        return await self._writer.step(lambda tx: _cancel.expire(tx, limit))

    async def prune(self, limit: int, tombstone: int) -> int:
        pruned = await self._writer.step(lambda tx: _forget.prune(tx, limit, tombstone))
        if pruned < limit:
            await self._database.tidy()
        return pruned

    async def delete(
        self, keys: Sequence[JobKey] | None = None, *, owner: str | None = None, matching: JobFilter | None = None
    ) -> Sequence[tuple[JobKey, Literal["deleted", "running"] | None]]:
        if keys is not None:
            return await self._writer.step(lambda tx: _forget.delete(tx, keys, ()))
        answers: list[tuple[JobKey, Literal["deleted", "running"] | None]] = []
        async for found, selected in self._selected(owner, matching):
            answers += await self._writer.step(partial(_forget.delete, keys=found, statuses=selected.status))
        return answers

    async def purge(self, owner: str | None, queue: str) -> Sequence[JobKey]:
        selected = JobFilter(status=("queued",), queue=queue)
        return [key for key, answer in await self.request_cancel(owner=owner, matching=selected) if answer is not None]

    async def pause(self, queue: str) -> None:
        await self._writer.step(lambda tx: _execute(tx, "pause", queue))

    async def resume(self, queue: str) -> None:
        await self._writer.step(lambda tx: _execute(tx, "resume", queue))

    # Looking

    async def get(self, keys: Sequence[JobKey], *, with_result: bool = True) -> Sequence[Job | None]:
        return await self._reader.run(lambda db: _jobs.get(db, self._lines, keys, with_result=with_result))

    async def submissions(self, keys: Sequence[JobKey]) -> Sequence[NewJob | None]:
        return await self._reader.run(lambda db: _jobs.submissions(db, self._lines, keys))

    async def is_tombstone(self, key: JobKey) -> bool:
        return await self._reader.run(lambda db: _jobs.is_tombstone(db, key))

    async def find(
        self,
        owner: str | None,
        matching: JobFilter,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> JobPage:
        lines = self._database.finder_lines
        return await self._database.finder.run(lambda db: _find.find(db, lines, owner, matching, after, before, limit))

    async def counts(self, owner: str | None = None, queue: str | None = None) -> Sequence[Counts]:
        return await self._database.finder.run(lambda db: _counts.counts(db, owner, queue))

    async def position(self, keys: Sequence[JobKey]) -> Sequence[int | None]:
        return await self._database.finder.run(lambda db: [_counts.position(db, key) for key in keys])

    async def events(self, key: JobKey, after: int = 0, limit: int = 200) -> EventPage:
        return await self._reader.run(lambda db: _jobs.events(db, key, after, limit))

    async def attempts(self, key: JobKey) -> Sequence[Attempt]:
        return await self._reader.run(lambda db: _jobs.attempts(db, key))

    def changes(self) -> AsyncIterator[Sequence[JobKey] | None]:
        return self._database.changes()

    # Workers

    async def register(self, worker: WorkerInfo, lease: int) -> None:
        self.clock_guard.lease = lease
        await self._writer.step(lambda tx: _workers.register(tx, worker, lease))

    async def unregister(self, worker: str) -> None:
        await self._writer.step(lambda tx: _workers.unregister(tx, worker))

    async def workers(self) -> Sequence[WorkerInfo]:
        now = self.clock.now()
        return await self._reader.run(lambda db: _workers.workers(db, now))

    async def models(self) -> Sequence[PublishedModel]:
        return await self._reader.run(_workers.models)

    async def _selected(
        self, owner: str | None, matching: JobFilter | None
    ) -> AsyncIterator[tuple[list[JobKey], JobFilter]]:
        """Iterate over the selected jobs, newest first, a bounded number at a time."""
        if matching is None:
            raise InvalidOption("keys, matching: give one of them")
        if matching.is_empty:
            raise InvalidOption(
                "matching: an empty JobFilter would select every job; name a status, model, queue or label"
            )
        below: JobKey | None = None
        while True:
            find_keys = partial(_find.find_keys, owner=owner, matching=matching, below=below, limit=_MOVED_AT_ONCE)
            found = await self._database.finder.run(find_keys)
            if found:
                yield found, matching
            if len(found) < _MOVED_AT_ONCE:
                return
            below = found[-1]


def _execute(tx: Transaction, name: str, *values: object) -> None:
    tx.execute(_SQL[name], values)
    tx.known.lines_of_models.clear()
