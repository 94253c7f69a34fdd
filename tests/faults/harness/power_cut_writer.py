"""A process whose system calls the power-cut test records: it writes jobs and acknowledges each answered call.

An acknowledgement is one JSON line written with one system call, only after the store has answered: what a submitter
or a worker would have been told. Arguments: the database, the file of acknowledgements, a seed, jobs, and SQLite's
`synchronous`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec
from msgspec import Struct

import asyncinfer_sqlite._connections as connections
from asyncinfer.abc import Claim, Finish, Limits, NewDelivery, Record
from asyncinfer.testing.builders import cancellation, failure, new_job, request, retry, subscription, success
from asyncinfer_sqlite import SQLiteStore

LOG_PAGES = 40
"""Pages after which a commit moves the log into the database: many moves in a short run, and small images."""
OPENINGS = 3
"""Closing saves the log into the database and deletes it; opening makes a new one."""
CALLERS = 4
LARGE = 5_000
"""Bytes of an input or result that lies in its own table."""


class Ack(Struct, array_like=True):
    """The answer to one call: which job stands at least where, and the result that was promised to be kept."""

    id: str
    attempt: int = 0
    status: str = "queued"
    """The terminal status, or "queued" for "at least accepted"."""
    result: bytes = b""


class Life:
    """What one caller does with its jobs, and tells."""

    def __init__(self, store: SQLiteStore, acks: int, randomness: random.Random, name: str) -> None:
        self._store = store
        self._acks = acks
        self._random = randomness
        self._name = name

    async def run(self, jobs: int) -> None:
        """Take jobs through their lives, a few at a time."""
        while jobs > 0:
            count = min(jobs, self._random.randint(1, 4))
            await self._insert(count)
            jobs -= count
            for answer in await self._store.claim([request(slots=count, worker=self._name)]):
                self._tell([Ack(claim.id, claim.attempt) for claim in answer.claims])
                await self._end(answer.claims)
            if self._random.random() < 0.3:
                await self._expand()

    async def _insert(self, count: int) -> None:
        jobs = [
            new_job(
                id=f"job_{self._random.getrandbits(80):020x}",
                input=self._random.randbytes(self._random.choice((20, 200, LARGE))),
                subscriptions=(subscription(),),
            )
            for _ in range(count)
        ]
        answers = await self._store.insert(jobs, Limits())
        self._tell([Ack(answer.id) for answer in answers if answer.kind == "inserted"])

    async def _end(self, claims: Sequence[Claim]) -> None:
        if not claims:
            return
        if self._random.random() < 0.3:
            told = [Record(claim.owner, claim.id, claim.attempt, output=(b"a value",)) for claim in claims]
            await self._store.record(told, Limits())
        endings = [self._ending(claim) for claim in claims]
        answers = await self._store.finish(endings)
        self._tell(
            [
                Ack(end.id, end.attempt, "queued" if end.outcome == "retry" else end.outcome, end.result or b"")
                for end, answer in zip(endings, answers, strict=True)
                if answer == "done"
            ]
        )

    def _ending(self, claim: Claim) -> Finish:
        chance = self._random.random()
        if chance < 0.1:
            return failure(claim)
        if chance < 0.2:
            return cancellation(claim)
        if chance < 0.3 and claim.attempt == 1:
            return retry(claim)
        return success(claim, self._random.randbytes(self._random.choice((16, 300, LARGE))))

    async def _expand(self) -> None:
        owed = await self._store.outbox.owed(4, 60_000)
        deliveries = [
            (each, [NewDelivery(id=f"msg_{each.n}", target="https://hooks.example.com/", event="job", body=b"{}")])
            for each in owed
        ]
        await self._store.outbox.expand(deliveries)

    def _tell(self, acks: Sequence[Ack]) -> None:
        if acks:
            os.write(self._acks, b"".join(msgspec.json.encode(ack) + b"\n" for ack in acks))


async def write_jobs(path: Path, acks: int, seed: int, jobs: int, synchronous: connections.Synchronous) -> None:
    """Open the store a few times, and let some callers write at once each time."""
    for opening in range(OPENINGS):
        store = SQLiteStore(path, synchronous=synchronous)
        await store.open()
        try:
            async with asyncio.TaskGroup() as callers:
                for caller in range(CALLERS):
                    randomness = random.Random(f"{seed} {opening} {caller}")
                    life = Life(store, acks, randomness, f"worker-{opening}-{caller}")
                    callers.create_task(life.run(jobs // OPENINGS // CALLERS))
        finally:
            await store.close()


def main() -> None:
    """Run as `python power_cut_writer.py DATABASE ACKS SEED JOBS SYNCHRONOUS`."""
    path, acks_path, seed, jobs, synchronous = sys.argv[1:]
    connections.WAL_PAGES = LOG_PAGES
    acks = os.open(acks_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    asyncio.run(write_jobs(Path(path), acks, int(seed), int(jobs), cast("connections.Synchronous", synchronous)))
    os.close(acks)


if __name__ == "__main__":
    main()
