"""Write how attempts ended: all that ended in one turn of the loop in one call, again until the store has answered."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct

from asyncinfer._clock import Clock
from asyncinfer._job import JobError, JobKey, Status, bounded
from asyncinfer._limits import MIB
from asyncinfer._services.attempt import MoveIds, RunningAttempt, finish_of, succeeded
from asyncinfer._services.journal import Journal
from asyncinfer._services.observers import Observers
from asyncinfer._services.uses_store import UsesStore
from asyncinfer._services.waiters import Ending
from asyncinfer.abc import Finish, JobStore, Outcome, RunningLease, WriteAnswer
from asyncinfer.errors import StoreError

RETRY_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0)
HELD_RESULT_BYTES = 64 * MIB
"""Finished results that wait in memory to be written: above it nothing more is claimed, and while the store is away
what still ends is dropped, to be rescued and run again."""
BATCH = 1_000
BATCH_BYTES = 16 * MIB
"""Of results in one call: a commit should not outlast its deadline."""
logger = logging.getLogger("asyncinfer.finisher")


class Ended(Struct, frozen=True, gc=False):
    attempt: RunningAttempt
    finish: Finish


class Crashed(Struct, frozen=True, gc=False):
    attempt: RunningAttempt
    error: JobError | None
    """How its process died, where the executor knows."""

    def lease(self, worker: str) -> RunningLease:
        claim = self.attempt.claim
        cause = None if self.error is None else bounded(self.error)
        return RunningLease(claim.owner, claim.id, claim.attempt, self.attempt.renewals, worker, error=cause)


class Finisher(UsesStore):
    """The one writer of `JobStore.finish` in a manager."""

    def __init__(
        self,
        store: JobStore,
        clock: Clock,
        journal: Journal,
        observers: Observers,
        *,
        worker_id: str,
        on_ended: Callable[[JobKey, Ending], None],
        on_requeued: Callable[[JobKey], None],
        on_moved: Callable[[Sequence[JobKey]], None],
        on_room: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._journal = journal
        self._observers = observers
        self._worker_id = worker_id
        self._on_ended = on_ended
        self._on_requeued = on_requeued
        self._on_moved = on_moved
        self._on_room = on_room
        self._move_ids = MoveIds()
        self._random = random.Random()
        self._pending: list[Ended] = []
        self._crashed: list[Crashed] = []
        self._given_back: list[RunningAttempt] = []
        self._held_bytes = 0
        self._failures = 0
        """Writes in a row that the store has not answered."""
        self._wake = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self.finished: int = 0
        """Jobs that ended here since the start: the drain rate of the queue is reckoned from it."""
        self.finished_of: Counter[str] = Counter()
        """The same by model."""

    @property
    def unwritten(self) -> Sequence[RunningAttempt]:
        """Attempts whose ending the store has not answered: their leases are still to be extended."""
        return [ended.attempt for ended in self._pending]

    def add(self, attempt: RunningAttempt, outcome: Outcome) -> None:
        """Take over an attempt that has just been concluded."""
        reason, kind = attempt.stop_reason, outcome.kind
        if reason == "lost":
            self._journal.forget(attempt)
            self._on_requeued(attempt.key)
            if self._observers.all:
                self._observers.ended([attempt], "lease_lost")
            return
        if kind == "not_run" or (reason == "drain" and kind == "canceled"):
            self._given_back.append(attempt)
        elif kind == "worker_lost":
            self._crashed.append(Crashed(attempt, outcome.error))
        else:
            self._hold(attempt, outcome)
        self._drained.clear()
        self._wake.set()

    def give_up(self, running: Sequence[RunningAttempt]) -> None:
        """Tell who watches of all that will never be answered: what is not written yet, and what still runs."""
        if self._observers.all:
            crashed = [one.attempt for one in self._crashed]
            self._observers.ended([*self.unwritten, *crashed, *self._given_back, *running], "unwritten")

    async def run(self) -> None:
        """Write endings until the manager closes."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._write_all()
            if not (self._pending or self._crashed or self._given_back):
                self._drained.set()

    @property
    def is_full(self) -> bool:
        """Results wait to be written as much as memory should hold: claim nothing more now."""
        return self._held_bytes >= HELD_RESULT_BYTES

    async def wait_drained(self) -> None:
        """Return once everything handed over has been answered."""
        await self._drained.wait()

    def _hold(self, attempt: RunningAttempt, outcome: Outcome) -> None:
        size = len(outcome.result)
        if self._failures and self._held_bytes + size > HELD_RESULT_BYTES:
            logger.error(
                "job %s: its result is dropped, the store has been away too long; it will be rescued and run again",
                attempt.claim.id,
            )
            self._journal.forget(attempt)
            if self._observers.all:
                self._observers.ended([attempt], "unwritten")
            return
        self._held_bytes += size
        move_id = self._move_ids()
        if outcome.kind == "returned":
            finish = succeeded(attempt.claim, outcome.result, move_id)
        else:
            finish = finish_of(attempt.claim, outcome, move_id=move_id, now=self._clock.now(), source=self._random)
        self._pending.append(Ended(attempt, finish))

    async def _write_all(self) -> None:
        while self._pending or self._crashed or self._given_back:
            was_full = self.is_full
            try:
                await self._write_some()
                self._failures = 0
                if was_full and not self.is_full:
                    self._on_room()
            except StoreError as error:
                pause = RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]
                self._failures += 1
                logger.warning("finish failed, trying again in %g s: %s", pause, error)
                await self._clock.sleep(pause)

    async def _write_some(self) -> None:
        batch = self._next_batch()
        speaking = [ended.attempt for ended in batch if self._journal.has_unsent(ended.attempt)]
        if speaking:
            await self._journal.flush(speaking)  # what a job said comes before how it ended
        if batch:
            answers = await self._store.finish([ended.finish for ended in batch])
            del self._pending[: len(batch)]
            for ended, answer in zip(batch, answers, strict=True):
                self._settle(ended, answer)
            if self._observers.all:
                self._observers.finished([(ended.attempt, ended.finish) for ended in batch], answers)
        if self._crashed:
            await self._write_crashes()
        if self._given_back:
            await self._write_given_back()

    def _next_batch(self) -> Sequence[Ended]:
        """Return the oldest endings, as many as one call should carry: one at least."""
        size = 0
        for count, ended in enumerate(self._pending[:BATCH]):
            size += len(ended.finish.result or b"")
            if count and size > BATCH_BYTES:
                return self._pending[:count]
        return self._pending[:BATCH]

    def _settle(self, ended: Ended, answer: WriteAnswer) -> None:
        attempt, finish = ended.attempt, ended.finish
        self._held_bytes -= len(finish.result or b"")
        if answer == "lost":
            logger.warning("job %s: attempt %d lost its lease, its outcome is dropped", finish.id, finish.attempt)
            self._on_requeued(attempt.key)
        elif finish.outcome == "retry":
            self._on_requeued(attempt.key)
        else:
            self.finished += 1
            self.finished_of[attempt.claim.model] += 1
            self._on_ended(attempt.key, Ending(_STATUS[finish.outcome], finish.result, finish.error))

    async def _write_crashes(self) -> None:
        crashed = self._crashed[:BATCH]
        answers = await self._store.rescue([one.lease(self._worker_id) for one in crashed])
        del self._crashed[: len(crashed)]
        for one, answer in zip(crashed, answers, strict=True):
            if answer == "queued":
                self._on_requeued(one.attempt.key)
        moved = [one.attempt.key for one, answer in zip(crashed, answers, strict=True) if answer != "queued"]
        if moved:
            self._on_moved(moved)  # how they ended is the store's to say
        if self._observers.all:
            self._observers.ended([one.attempt for one in crashed], "worker_lost")

    async def _write_given_back(self) -> None:
        given_back = self._given_back[:BATCH]
        speaking = [attempt for attempt in given_back if self._journal.has_unsent(attempt)]
        if speaking:
            await self._journal.flush(speaking)
        answers = await self._store.give_back([attempt.lease for attempt in given_back], self._move_ids())
        del self._given_back[: len(given_back)]
        for attempt in given_back:
            self._on_requeued(attempt.key)
        if self._observers.all:
            self._observers.given_back(given_back, answers)


_STATUS: dict[str, Status] = {"succeeded": "succeeded", "failed": "failed", "canceled": "canceled"}
