"""Unload idle models for those whose jobs wait and that would not fit beside them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from asyncinfer._clock import Clock
from asyncinfer._services.ledger import Ledger
from asyncinfer._services.pool import Pool, PoolModel
from asyncinfer._services.releases import release
from asyncinfer._services.uses_store import UsesStore
from asyncinfer.abc import JobStore

logger = logging.getLogger("asyncinfer.models")


class RoomMaker(UsesStore):
    """Keeps the loaded models within the budget: the worker says what does not fit, at least once a second."""

    def __init__(
        self,
        store: JobStore,
        clock: Clock,
        pools: Sequence[Pool],
        ledger: Ledger,
        *,
        idle_seconds: float,
        wait_claimed: Callable[[], Awaitable[None]],
        on_room: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._pools = pools
        self._ledger = ledger
        self._idle_seconds = idle_seconds
        self._wait_claimed = wait_claimed
        self._on_room = on_room
        self._unfit: Sequence[PoolModel] = ()
        self._wake = asyncio.Event()

    def want(self, unfit: Sequence[PoolModel]) -> None:
        """Take note of models that do not fit beside those that are loaded."""
        self._unfit = unfit
        self._wake.set()

    async def run(self) -> None:
        """Make room whenever it is wanted, until the manager closes."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            unfit, self._unfit = self._unfit, ()
            if self._idle() and (waiting := await self._waiting(unfit)):
                await self._make_room(waiting)

    async def _make_room(self, waiting: Sequence[PoolModel]) -> None:
        """Unload what must go for the first of these that can fit."""
        idle = self._idle()
        for _, entry in idle:
            entry.is_leaving = True
        try:
            await self._wait_claimed()  # what was asked for before may still come
            idle = [(pool, entry) for pool, entry in idle if not entry.calls]
            victims = self._victims(waiting, idle)
            for _, entry in [one for one in idle if one not in victims]:
                entry.is_leaving = False
            await release(victims)
        finally:
            for pool in self._pools:
                for entry in pool.models.values():
                    entry.is_leaving = False
            self._on_room()

    def _victims(
        self, waiting: Sequence[PoolModel], idle: Sequence[tuple[Pool, PoolModel]]
    ) -> Sequence[tuple[Pool, PoolModel]]:
        candidates = {one: one[1].need for one in idle}
        kept = [
            entry.need
            for pool in self._pools
            for entry in pool.models.values()
            if entry.need and (pool, entry) not in candidates and entry.holds_memory(pool.executor)
        ]
        for one in waiting:
            victims = self._ledger.victims(one.need, kept, candidates)
            if victims:
                names = ", ".join(entry.name for _, entry in victims)
                logger.info("unloading %s: jobs of model %s wait for their memory", names, one.name)
                return victims
        return ()

    async def _waiting(self, unfit: Sequence[PoolModel]) -> Sequence[PoolModel]:
        counts = await self._store.counts()
        oldest = {one.model: one.oldest_queued_at or 0 for one in counts if one.queued and not one.is_paused}
        return sorted((entry for entry in unfit if entry.name in oldest), key=lambda entry: oldest[entry.name])

    def _idle(self) -> list[tuple[Pool, PoolModel]]:
        """Return the models that may go, the longest idle first."""
        until = self._clock.monotonic() - self._idle_seconds
        found = [
            (pool, entry)
            for pool in self._pools
            for entry in pool.models.values()
            if entry.need
            and not entry.resources.pinned
            and not entry.calls
            and not entry.is_leaving
            and entry.idle_since <= until
            and entry.is_loaded(pool.executor)
        ]
        return sorted(found, key=lambda one: one[1].idle_since)
