"""Extend the leases of everything that runs here, in one call a beat, and obey what the answers say."""

from __future__ import annotations

import asyncio
import logging

from asyncinfer._clock import Clock, Timer
from asyncinfer._services.attempt import RunningAttempt
from asyncinfer._services.finisher import Finisher
from asyncinfer._services.uses_store import UsesStore
from asyncinfer._services.worker import Worker
from asyncinfer.abc import ExtendAnswer, JobStore
from asyncinfer.errors import StoreError

BEATS_PER_LEASE = 4
EARLY_BEAT_SECONDS = 1.0
"""A hint may be a wish to cancel: beat early, at most this often."""
logger = logging.getLogger("asyncinfer.heartbeat")


class Heartbeat(UsesStore):
    """The one caller of `JobStore.extend` in a manager."""

    def __init__(
        self, store: JobStore, clock: Clock, worker: Worker, finisher: Finisher, *, worker_id: str, lease: int
    ) -> None:
        self._store = store
        self._clock = clock
        self._worker = worker
        self._finisher = finisher
        self._worker_id = worker_id
        self._lease = lease
        self._due = asyncio.Event()
        self._early: Timer | None = None
        self._last_beat = clock.monotonic()
        self.held_until: float = clock.monotonic() + lease / 1000
        """On the monotonic clock, reckoned from before the last answered call was sent."""

    @property
    def interval(self) -> float:
        """Seconds between two beats."""
        return self._lease / 1000 / BEATS_PER_LEASE

    def hint(self) -> None:
        """Something changed elsewhere: look soon whether a running job should be canceled."""
        if self._worker.attempts and self._early is None:
            since = self._clock.monotonic() - self._last_beat
            self._early = self._clock.call_later(max(0.0, EARLY_BEAT_SECONDS - since), self._due.set)

    async def run(self) -> None:
        """Beat until the manager closes; the last service to stop."""
        while True:
            await self._wait()
            try:
                await self.beat()
            except StoreError as error:
                logger.warning("heartbeat failed: %s", error)
                self._fence()

    async def beat(self) -> None:
        """Extend every lease once. Raises StoreError."""
        attempts = [*self._worker.attempts.values(), *self._finisher.unwritten]
        sent = self._last_beat = self._clock.monotonic()
        answers = await self._store.extend(self._worker_id, [attempt.lease for attempt in attempts], self._lease)
        self.held_until = sent + self._lease / 1000
        for attempt, answer in zip(attempts, answers, strict=True):
            self._obey(attempt, answer)

    def _obey(self, attempt: RunningAttempt, answer: ExtendAnswer) -> None:
        if answer != "lost":
            attempt.renewals += 1
        if attempt.is_concluded:
            return
        if answer == "lost":
            logger.warning("job %s: attempt %d lost its lease, stopping it", attempt.claim.id, attempt.claim.attempt)
            self._worker.stop(attempt, "lost")
        elif answer == "cancel":
            self._worker.stop(attempt, "cancel")

    def _fence(self) -> None:
        """Stop working once our leases may have ended unseen: another manager may run these jobs by now."""
        if self._clock.monotonic() >= self.held_until:
            for attempt in list(self._worker.attempts.values()):
                self._worker.stop(attempt, "lost")

    async def _wait(self) -> None:
        timer = self._clock.call_later(self.interval, self._due.set)
        try:
            await self._due.wait()
        finally:
            timer.cancel()
            self._due.clear()
        if self._early is not None:
            self._early.cancel()
            self._early = None
