"""Forget, bit by bit, what has passed its retention."""

from __future__ import annotations

import logging

from asyncinfer._clock import Clock
from asyncinfer._services.uses_store import UsesStore
from asyncinfer.abc import JobStore
from asyncinfer.errors import StoreError

TICK_SECONDS = 30.0
ROWS = 500
PAUSE_SECONDS = 0.05
"""Between two full batches: pruning never crowds out the work."""
logger = logging.getLogger("asyncinfer.pruner")


class Pruner(UsesStore):
    """Calls `JobStore.prune` until nothing is due, then rests."""

    def __init__(self, store: JobStore, clock: Clock, *, tombstone: int) -> None:
        self._store = store
        self._clock = clock
        self._tombstone = tombstone

    async def run(self) -> None:
        """Prune until the manager closes."""
        while True:
            try:
                pruned = await self._store.prune(ROWS, self._tombstone)
            except StoreError as error:
                logger.warning("the pruner could not work: %s", error)
                pruned = 0
            await self._clock.sleep(PAUSE_SECONDS if pruned >= ROWS else TICK_SECONDS)
