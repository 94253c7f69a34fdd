"""Return lost attempts to the queue, end those past their limits, fail what waited too long.

Runs in every manager, without a lock: each rescue is conditional on what was observed. Only what is proven lost is
rescued: its worker's lock is free, or its (attempt, renewals) stood still for one whole lease of this observer's
monotonic clock.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from typing import NamedTuple

from asyncinfer._clock import Clock
from asyncinfer._job import JobError, JobKey
from asyncinfer._services.attempt import MoveIds
from asyncinfer.abc import Finish, JobStore, RunningLease
from asyncinfer.errors import StoreError

TICK_SECONDS = 1.0
PAGE = 1_000
LIMIT_GRACE_MS = 2_000
"""A worker ends its own attempts at their limit; the rescuer does it for one that has not, this much later."""
logger = logging.getLogger("asyncinfer.rescuer")


class Sighting(NamedTuple):
    """An attempt as this observer has seen it: unchanged for `seconds` so far."""

    attempt: int
    renewals: int
    seconds: float


class Rescuer:
    """Watches the running leases of all workers of the store."""

    def __init__(
        self,
        store: JobStore,
        clock: Clock,
        *,
        lease: int,
        own_attempts: Callable[[], Collection[JobKey]],
        renew_own: Callable[[], Awaitable[None]],
        on_moved: Callable[[Sequence[JobKey]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._lease_seconds = lease / 1000
        self._tick = min(TICK_SECONDS, self._lease_seconds / 4)
        self._own_attempts = own_attempts
        self._renew_own = renew_own
        self._on_moved = on_moved
        self._move_ids = MoveIds()
        self._sightings: dict[JobKey, Sighting] = {}
        self._last_tick = clock.monotonic()
        self.rescued = 0

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
        elapsed = self._clock.monotonic() - self._last_tick
        self._last_tick += elapsed
        if elapsed > 2 * self._tick + 0.5 and self._own_attempts():
            await self._renew_own()  # after a stall our own leases come first, and nothing is judged by this gap
        elapsed = min(elapsed, 2 * self._tick)
        seen: dict[JobKey, Sighting] = {}
        async for page in self._pages():
            lost = [lease for lease in page if self._is_lost(lease, elapsed, seen)]
            if lost:
                await self._rescue(lost)
            await self._end_overdue(page)
        self._sightings = seen
        expired = await self._store.expire(PAGE)
        if expired:
            self._on_moved(expired)

    async def _pages(self) -> AsyncIterator[Sequence[RunningLease]]:
        after: JobKey | None = None
        while True:
            page = await self._store.leases(after, PAGE)
            if page:
                yield page
            if len(page) < PAGE:
                return
            after = JobKey(page[-1].owner, page[-1].id)

    def _is_lost(self, lease: RunningLease, elapsed: float, seen: dict[JobKey, Sighting]) -> bool:
        key = JobKey(lease.owner, lease.id)
        if lease.is_gone:
            return True
        if key in self._own_attempts():
            return False
        before = self._sightings.get(key)
        is_same = before is not None and (before.attempt, before.renewals) == (lease.attempt, lease.renewals)
        seconds = before.seconds + elapsed if is_same and before is not None else 0.0
        seen[key] = Sighting(lease.attempt, lease.renewals, seconds)
        return seconds >= self._lease_seconds

    async def _rescue(self, lost: Sequence[RunningLease]) -> None:
        answers = await self._store.rescue(lost)
        moved: list[JobKey] = []
        for lease, answer in zip(lost, answers, strict=True):
            if answer != "held":
                logger.warning(
                    "job %s: attempt %d of worker %s was lost: %s", lease.id, lease.attempt, lease.worker, answer
                )
                moved.append(JobKey(lease.owner, lease.id))
        self.rescued += len(moved)
        if moved:
            self._on_moved(moved)

    async def _end_overdue(self, page: Sequence[RunningLease]) -> None:
        now = self._clock.now()
        own = self._own_attempts()
        overdue = [self._overdue(lease, now) for lease in page if JobKey(lease.owner, lease.id) not in own]
        finishes = [finish for finish in overdue if finish is not None]
        if finishes:
            await self._store.finish(finishes)
            self._on_moved([JobKey(finish.owner, finish.id) for finish in finishes])

    def _overdue(self, lease: RunningLease, now: int) -> Finish | None:
        if lease.time_limit_at is not None and now > lease.time_limit_at + LIMIT_GRACE_MS:
            error = JobError(code="time_limit", message="the attempt passed its time_limit", attempt=lease.attempt)
        elif lease.deadline is not None and now > lease.deadline + LIMIT_GRACE_MS:
            error = JobError(code="deadline", message="the job's deadline passed while it ran", attempt=lease.attempt)
        else:
            return None
        return Finish(lease.owner, lease.id, lease.attempt, "failed", self._move_ids(), None, error)
