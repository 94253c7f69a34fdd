"""Return lost attempts to the queue, end those past their limits, fail what waited too long.

Runs in every manager, without a lock: each rescue is conditional on what was observed. Only what is proven lost is
rescued: its worker's lock is free, or its (attempt, renewals) stood still for one whole lease of this observer's
monotonic clock.
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from asyncinfer._clock import Clock
from asyncinfer._job import JobError, JobKey
from asyncinfer._services.attempt import MoveIds
from asyncinfer._services.observers import Observers
from asyncinfer._services.uses_store import UsesStore
from asyncinfer.abc import Finish, JobStore, Rescued, RunningLease
from asyncinfer.errors import StoreError

TICK_SECONDS = 1.0
PAGE = 1_000
LIMIT_GRACE_MS = 2_000
"""A worker ends its own attempts at their limit; the rescuer does it for one that has not, this much later."""
logger = logging.getLogger("asyncinfer.rescuer")


class Sighting(NamedTuple):
    """An attempt as this observer has seen it, on its own monotonic clock."""

    attempt: int
    renewals: int
    unchanged: float
    """Seconds for which (attempt, renewals) has stood still."""
    ends_at: float
    """When its time_limit or deadline has passed; reckoned at the first sight, so that no later jump moves it."""


class Rescuer(UsesStore):
    """Watches the running leases of all workers of the store."""

    def __init__(
        self,
        store: JobStore,
        clock: Clock,
        observers: Observers,
        *,
        lease: int,
        own_attempts: Callable[[], Collection[JobKey]],
        renew_own: Callable[[], Awaitable[None]],
        on_moved: Callable[[Sequence[JobKey]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._observers = observers
        self._lease_seconds = lease / 1000
        self._tick = min(TICK_SECONDS, self._lease_seconds / 4)
        self._own_attempts = own_attempts
        self._renew_own = renew_own
        self._on_moved = on_moved
        self._move_ids = MoveIds()
        self._sightings: dict[JobKey, Sighting] = {}
        self._last_tick = clock.monotonic()
        self.rescued: int = 0

    async def run(self) -> None:
        """Look once a tick until the manager closes."""
        while True:
            await self._clock.sleep(self._tick)
            try:
                await self.look()
            except StoreError as error:
                logger.warning("the rescuer could not look: %s", error)

    async def look(self) -> None:
        """Watch every running lease once and act on what is proven. Raises StoreError."""
        elapsed, has_stalled = self._elapsed()
        if has_stalled and self._own_attempts():
            await self._renew_own()  # our own leases come first
        seen: dict[JobKey, Sighting] = {}
        async for page in self._pages():
            others = [lease for lease in page if JobKey(lease.owner, lease.id) not in self._own_attempts()]
            for lease in others:
                seen[JobKey(lease.owner, lease.id)] = self._sight(lease, elapsed)
            await self._rescue([lease for lease in others if self._is_lost(lease, seen)])
            await self._end_overdue([lease for lease in others if self._is_overdue(lease, seen)])
        self._sightings = seen
        expired = await self._store.expire(PAGE)
        if expired:
            self._on_moved(expired)

    def _elapsed(self) -> tuple[float, bool]:
        """Return the seconds that count since the last look, two ticks at most, and whether this manager stalled."""
        now = self._clock.monotonic()
        elapsed, self._last_tick = now - self._last_tick, now
        return min(elapsed, 2 * self._tick), elapsed > 2 * self._tick + 0.5

    async def _pages(self) -> AsyncIterator[Sequence[RunningLease]]:
        after: JobKey | None = None
        while True:
            page = await self._store.leases(after, PAGE)
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = JobKey(page[-1].owner, page[-1].id)

    def _sight(self, lease: RunningLease, elapsed: float) -> Sighting:
        before = self._sightings.get(JobKey(lease.owner, lease.id))
        if before is None or before.attempt != lease.attempt:
            return Sighting(lease.attempt, lease.renewals, 0.0, self._ends_at(lease))
        unchanged = before.unchanged + elapsed if before.renewals == lease.renewals else 0.0
        return Sighting(lease.attempt, lease.renewals, unchanged, before.ends_at)

    def _ends_at(self, lease: RunningLease) -> float:
        limits = [limit for limit in (lease.time_limit_at, lease.deadline) if limit is not None]
        if not limits:
            return math.inf
        left = (min(limits) + LIMIT_GRACE_MS - self._clock.now()) / 1000
        return self._clock.monotonic() + max(left, 0.0)

    def _is_lost(self, lease: RunningLease, seen: Mapping[JobKey, Sighting]) -> bool:
        return lease.is_gone or seen[JobKey(lease.owner, lease.id)].unchanged >= self._lease_seconds

    def _is_overdue(self, lease: RunningLease, seen: Mapping[JobKey, Sighting]) -> bool:
        return not lease.is_gone and self._clock.monotonic() >= seen[JobKey(lease.owner, lease.id)].ends_at

    async def _rescue(self, lost: Sequence[RunningLease]) -> None:
        if not lost:
            return
        moved: list[JobKey] = []
        answers = await self._store.rescue(lost)
        for lease, answer in zip(lost, answers, strict=True):
            if answer != "held":
                logger.warning(
                    "job %s: attempt %s of worker %s was lost: %s", lease.id, lease.attempt, lease.worker, answer
                )
                moved.append(JobKey(lease.owner, lease.id))
        self.rescued += len(moved)
        if moved:
            self._on_moved(moved)
            if self._observers.all:
                told = [Rescued(*one) for one in zip(lost, answers, strict=True) if one[1] != "held"]
                self._observers.rescued(told)

    async def _end_overdue(self, overdue: Sequence[RunningLease]) -> None:
        if not overdue:
            return
        finishes = [
            Finish(one.owner, one.id, one.attempt, "failed", self._move_ids(), None, _overdue_error(one))
            for one in overdue
        ]
        await self._store.finish(finishes)
        self._on_moved([JobKey(one.owner, one.id) for one in overdue])


def _overdue_error(lease: RunningLease) -> JobError:
    if lease.time_limit_at is None or (lease.deadline is not None and lease.deadline < lease.time_limit_at):
        return JobError(code="deadline", message="the job's deadline passed while it ran", attempt=lease.attempt)
    return JobError(code="time_limit", message="the attempt took longer than its time_limit", attempt=lease.attempt)
