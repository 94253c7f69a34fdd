"""Every call of an SQLite store, ready to be made on whatever jobs it holds at the moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from asyncinfer.abc import (
    Claim,
    DeliveryFilter,
    Endpoint,
    Finish,
    JobFilter,
    JobKey,
    Limits,
    NewDelivery,
    Progress,
    Record,
    Settlement,
    WorkerInfo,
)
from asyncinfer.abc import DeliveryAttempt as LogLine
from asyncinfer.lifecycle import FinishOutcome
from asyncinfer.testing.builders import lease_of, move_id, new_jobs, request, subscription
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.cancelling import Calls

_WORKER = "worker-1"
_ASIDE = "aside"
"""A queue to pause and purge, in which no claim is interested."""
_LEASE = 60_000
OUTCOMES: tuple[FinishOutcome, ...] = ("succeeded", "failed", "canceled", "retry")
_WATCHED_FOR = 0.02
"""Seconds, for nobody else writes into this store: the iteration waits until it is cut short."""


class StoreBench:
    """Knows which attempts it was given, and which of them may have ended without its hearing."""

    def __init__(self, store: SQLiteStore, randomness: random.Random) -> None:
        self._store = store
        self._random = randomness
        self._held: dict[tuple[str, int], Claim] = {}
        self._known: list[JobKey] = []
        self._uncertain: set[tuple[str, int]] = set()

    favorites = ("insert", "claim", "finish")

    @property
    def path(self) -> Path:
        return self._store.path

    @property
    def calls(self) -> Calls:
        outbox = self._store.outbox
        return {
            "insert": self._insert,
            "claim": self._claim,
            "extend": self._extend,
            "record": self._record,
            "finish": self._finish,
            "give_back": self._give_back,
            "rescue": self._rescue,
            "request_cancel": self._request_cancel,
            "delete": self._delete,
            "changes": self._changes,
            "outbox.expand": self._outbox_expand,
            "outbox.settle": self._outbox_settle,
            "outbox.put_endpoint": self._outbox_put_endpoint,
            "leases": lambda: self._store.leases(None, 100),
            "expire": lambda: self._store.expire(10),
            "prune": lambda: self._store.prune(10, 0),
            "purge": lambda: self._store.purge("alice", _ASIDE),
            "pause": lambda: self._store.pause(_ASIDE),
            "resume": lambda: self._store.resume(_ASIDE),
            "get": lambda: self._store.get([self._key()]),
            "submissions": lambda: self._store.submissions([self._key()]),
            "is_tombstone": lambda: self._store.is_tombstone(self._key()),
            "find": lambda: self._store.find("alice", JobFilter()),
            "counts": self._store.counts,
            "position": lambda: self._store.position([self._key()]),
            "events": lambda: self._store.events(self._key()),
            "attempts": lambda: self._store.attempts(self._key()),
            "register": lambda: self._store.register(WorkerInfo(worker=_WORKER), _LEASE),
            "unregister": lambda: self._store.unregister("another worker"),
            "workers": self._store.workers,
            "models": self._store.models,
            "outbox.owed": lambda: outbox.owed(5, 0),
            "outbox.due": lambda: outbox.due(5, 0),
            "outbox.next_due_at": outbox.next_due_at,
            "outbox.deliveries": lambda: outbox.deliveries("alice", DeliveryFilter()),
            "outbox.delivery": lambda: outbox.delivery("alice", "msg_1"),
            "outbox.log": lambda: outbox.log("alice", "msg_1"),
            "outbox.redeliver": lambda: outbox.redeliver("alice", ["msg_1"], 0),
            "outbox.recover": lambda: outbox.recover("alice", "endpoint", 0, 1, 0),
            "outbox.endpoints": lambda: outbox.endpoints("alice"),
            "outbox.delete_endpoint": lambda: outbox.delete_endpoint("alice", "endpoint"),
            "outbox.of_job": lambda: outbox.of_job(self._key()),
        }

    async def has_open_transaction(self) -> bool:
        return await self._store._writer.look(lambda connection: connection.in_transaction)

    async def count_orphans(self) -> int:
        # A write behind all that was called before: what a cancelled claim took has then been given back.
        await self._store.resume(_ASIDE)
        running = {(lease.id, lease.attempt) for lease in await self._store.leases(None, 10_000)}
        orphans = running - self._held.keys() - self._uncertain
        self._uncertain &= running
        self._uncertain |= orphans
        return len(orphans)

    # Calls that need more than a line

    async def _insert(self) -> None:
        queue = self._random.choice(["default", "default", _ASIDE])
        jobs = new_jobs(self._random.randint(1, 4), queue=queue, subscriptions=(subscription(),), retention_record=0)
        await self._store.insert(jobs, Limits())
        self._known = [*self._known, *(job.job_key for job in jobs)][-200:]

    async def _claim(self) -> None:
        for answer in await self._store.claim([request(slots=self._random.randint(1, 4), worker=_WORKER)]):
            self._held.update({(claim.id, claim.attempt): claim for claim in answer.claims})

    async def _extend(self) -> None:
        await self._store.extend(_WORKER, [lease_of(claim) for claim in self._held.values()], _LEASE)

    async def _record(self) -> None:
        told = [
            Record(
                claim.owner,
                claim.id,
                claim.attempt,
                Progress(fraction=0.5),
                (b"value",),
                b"state",
                claim.ref,
                move_id(),
            )
            for claim in self._some()
        ]
        await self._store.record(told, Limits())

    async def _finish(self) -> None:
        endings = [
            Finish(
                claim.owner, claim.id, claim.attempt, self._random.choice(OUTCOMES), move_id(), b"result", ref=claim.ref
            )
            for claim in self._let_go()
        ]
        await self._store.finish(endings)

    async def _give_back(self) -> None:
        await self._store.give_back([lease_of(claim) for claim in self._let_go()], move_id())

    async def _rescue(self) -> None:
        let_go = {(claim.id, claim.attempt) for claim in self._let_go()}
        running = await self._store.leases(None, 100)
        await self._store.rescue([lease for lease in running if (lease.id, lease.attempt) in let_go])

    async def _request_cancel(self) -> None:
        await self._store.request_cancel([self._key()])

    async def _delete(self) -> None:
        await self._store.delete([self._key()])

    async def _changes(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_WATCHED_FOR):
                await anext(self._store.changes())

    async def _outbox_expand(self) -> None:
        owed = await self._store.outbox.owed(2, 0)
        await self._store.outbox.expand(
            [(each, [NewDelivery(id=f"msg_{each.n}", target="t:", event="job", body=b"{}")]) for each in owed]
        )

    async def _outbox_settle(self) -> None:
        line = LogLine(at=1, kind="delivered")
        await self._store.outbox.settle(
            [
                Settlement(id=each.id, lease_token=each.lease_token, status="delivered", attempt=line)
                for each in await self._store.outbox.due(2, 0)
            ]
        )

    async def _outbox_put_endpoint(self) -> None:
        await self._store.outbox.put_endpoint(Endpoint(id="endpoint", owner="alice", target="t:", events=()))

    def _key(self) -> JobKey:
        return self._random.choice(self._known) if self._known else JobKey("alice", "unknown")

    def _some(self) -> Sequence[Claim]:
        return self._random.sample(list(self._held.values()), min(2, len(self._held)))

    def _let_go(self) -> Sequence[Claim]:
        """Take attempts that this call may or may not end."""
        chosen = self._some()
        for claim in chosen:
            del self._held[claim.id, claim.attempt]
            self._uncertain.add((claim.id, claim.attempt))
        return chosen
