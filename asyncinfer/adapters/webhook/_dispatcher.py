"""From deliveries to receivers: leases what is due, and lets the hand say which of it is sent now."""

from __future__ import annotations

import asyncio

from asyncinfer.abc import Clock, Delivery, Outbox
from asyncinfer.adapters.webhook._attempts import Attempts
from asyncinfer.adapters.webhook._hand import Hand

POLL_SECONDS = 1.0
"""What others have expanded, or asked to be sent again, is looked for this often."""
CROWDED_SECONDS = 0.25
"""Between two looks past a crowd of deliveries to one host, each to a URL of its own, for those of others."""
DUE_AT_ONCE = 100
HOLD_SECONDS = 30.0
"""How long a leased delivery may wait for its turn."""
SHORTEST_SECONDS = 0.001


class Dispatcher:
    """Runs attempts as tasks of `group`, each within `attempt_seconds` and within its lease."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        outbox: Outbox,
        clock: Clock,
        attempts: Attempts,
        *,
        slots: int,
        attempt_seconds: float,
        wake: asyncio.Event,
    ) -> None:
        self._group = group
        self._outbox = outbox
        self._clock = clock
        self._attempts = attempts
        self._hand = Hand(slots)
        self._lease = round((HOLD_SECONDS + attempt_seconds) * 1000)
        self._wake = wake

    async def step(self) -> float:
        """Lease what is due, begin what may begin, and return the seconds until the next look. Raises StoreError."""
        limit = min(self._hand.room, DUE_AT_ONCE)
        if limit == 0:
            self._begin()
            return POLL_SECONDS
        begin_by = self._clock.monotonic() + HOLD_SECONDS
        due = await self._outbox.due(limit, self._lease, skip=self._hand.skip())
        is_open = self._hand.take(due, begin_by)
        self._begin()
        if len(due) == limit:
            return 0.0 if is_open else CROWDED_SECONDS
        return await self._until_next()

    async def _until_next(self) -> float:
        """Return when something may be due that is not in hand. What waits for its target wakes us by itself."""
        waits = [POLL_SECONDS]
        at = await self._outbox.next_due_at()
        now = self._clock.now()
        if at is not None and at > now:
            waits.append((at - now) / 1000)
        monotonic = self._clock.monotonic()
        next_at = self._hand.next_at(monotonic)
        if next_at is not None:
            waits.append(next_at - monotonic)
        return max(min(waits), SHORTEST_SECONDS)

    def _begin(self) -> None:
        for delivery in self._hand.begin(self._clock.monotonic()):
            self._group.create_task(self._attempt(delivery), name=f"asyncinfer-webhook-{delivery.id}")

    async def _attempt(self, delivery: Delivery) -> None:
        went = await self._attempts.make(delivery)
        # Only here, when a cancelled attempt has left by its exception: it is not followed by others.
        if self._hand.end(delivery, self._clock.monotonic(), went):
            self._wake.set()
        self._begin()
