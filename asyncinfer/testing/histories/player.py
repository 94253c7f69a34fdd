"""One store and what a history has learned from it: the hands that later commands use."""

from __future__ import annotations

from random import Random
from typing import ClassVar, TypeVar

from asyncinfer.abc import (
    Claim,
    Clock,
    Delivery,
    Finish,
    JobKey,
    JobStore,
    Lease,
    NewDelivery,
    NewJob,
    Owed,
    Record,
    RunningLease,
)

T = TypeVar("T")


class Player:
    """Plays commands on one store. Two players who are told the same must hear the same.

    Whatever a command names (a job, an attempt, an observed lease) is drawn from what earlier answers gave, by a random
    source of the command's own: taking a command out of a history leaves the others playable.
    """

    owners: ClassVar[tuple[str, ...]] = ("", "alice", "bob")
    models: ClassVar[tuple[str, ...]] = ("echo", "embed")
    queues: ClassVar[tuple[str, ...]] = ("default", "slow")

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self.store: JobStore = store
        self.clock: Clock = clock
        self.jobs: list[NewJob] = []
        self.claims: list[Claim] = []
        self.finishes: list[Finish] = []
        self.given_back: list[tuple[tuple[Lease, ...], bytes]] = []
        self.records: list[Record] = []
        self.observed: list[RunningLease] = []
        self.owed: list[Owed] = []
        self.expanded: list[tuple[Owed, tuple[NewDelivery, ...]]] = []
        self.deliveries: list[str] = []
        self.leased: list[Delivery] = []

    @property
    def keys(self) -> list[JobKey]:
        """Every job that this history has tried to insert, once each."""
        return list(dict.fromkeys(job.job_key for job in self.jobs))

    def forget_attempts(self, key: JobKey) -> None:
        """Drop what was done for an earlier job of that id, whose tombstone has gone.

        Whether an old worker's write meets the new job is a matter of how ids are made: they never come again.
        """
        self.claims = [claim for claim in self.claims if claim.job_key != key]
        self.finishes = [ending for ending in self.finishes if (ending.owner, ending.id) != key]
        self.records = [record for record in self.records if (record.owner, record.id) != key]
        self.given_back = [write for write in self.given_back if all((one.owner, one.id) != key for one in write[0])]
        self.observed = [lease for lease in self.observed if (lease.owner, lease.id) != key]


def recent(random: Random, items: list[T]) -> T | None:
    """Draw one of the items, the newest of them most often; None of none."""
    if not items:
        return None
    back = min(int(random.expovariate(0.4)), len(items) - 1)
    return items[-1 - back]


def some(random: Random, items: list[T], most: int) -> list[T]:
    """Draw up to `most` of the items, the newest most often, sometimes one of them twice."""
    drawn = (recent(random, items) for _ in range(random.randint(1, most)))
    return [item for item in drawn if item is not None]


def some_bytes(random: Random) -> bytes:
    """Draw bytes of a size that a store may treat differently: none, few, and more than it keeps in a row."""
    return random.randbytes(1) * random.choice((0, 1, 10, 3_000))


def chance(random: Random, probability: float) -> bool:
    return random.random() < probability
