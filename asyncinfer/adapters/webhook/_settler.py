"""From receivers to the log: how attempts went is written in batches, and kept until the store has taken it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from asyncinfer.abc import Clock, Outbox, Settlement
from asyncinfer.errors import StoreError

RETRY_SECONDS = 1.0
FLUSH_SECONDS = 5.0
"""At the end: what is not written by then is sent again, with the same id."""
logger = logging.getLogger("asyncinfer.webhook")


class Settler:
    """Writes settlements. A False answer is final: the lease is another's by now, and so is the delivery.

    `on_later` is called when deliveries are to be made again, which may be before anybody would look for them.
    """

    def __init__(self, outbox: Outbox, clock: Clock, *, on_later: Callable[[], None]) -> None:
        self._outbox = outbox
        self._clock = clock
        self._on_later = on_later
        self._waiting: list[Settlement] = []
        self._more = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many the store has not taken yet."""
        return len(self._waiting)

    def add(self, settlement: Settlement) -> None:
        self._waiting.append(settlement)
        self._more.set()

    async def run(self) -> None:
        """Write what comes, until cancelled."""
        while True:
            await self._more.wait()
            await asyncio.sleep(0)  # whatever else ends in this turn joins
            self._more.clear()
            try:
                await self._write()
            except StoreError as error:
                logger.warning("deliveries could not be settled, trying again: %s", error)
                self._more.set()
                await self._clock.sleep(RETRY_SECONDS)

    async def flush(self) -> None:
        """Write what is left, if the store takes it soon. Nothing is raised."""
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._write()
        except (StoreError, TimeoutError) as error:
            logger.warning("%d deliveries could not be settled, they will be sent again: %s", self.waiting, error)

    async def _write(self) -> None:
        while self._waiting:
            count = len(self._waiting)
            try:
                await self._outbox.settle(self._waiting[:count])
            except StoreError:
                raise
            except Exception:
                # Whatever is wrong with them, it would be again: they are sent again when their leases end.
                logger.exception("%d deliveries could not be settled", count)
            written, self._waiting = self._waiting[:count], self._waiting[count:]
            if any(one.status == "pending" for one in written):
                self._on_later()
