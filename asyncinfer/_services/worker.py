"""Claim while there is room, run what was claimed, hand its outcome on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from asyncinfer._clock import Clock, Timer
from asyncinfer._job import JobError, JobKey
from asyncinfer._services.attempt import RunningAttempt, StopReason, stopped
from asyncinfer._services.journal import Journal
from asyncinfer._services.ledger import Ledger
from asyncinfer._services.observers import Observers
from asyncinfer._services.planner import Plan, Planner
from asyncinfer._services.pool import Pool, PoolModel, Slots
from asyncinfer._services.uses_store import UsesStore
from asyncinfer.abc import Call, CallItem, Claim, Claims, JobStore, Outcome
from asyncinfer.errors import StoreError

IDLE_POLL_SECONDS = 1.0
"""A lost hint of new work costs at most this."""
RETRY_SECONDS = 0.25
ABANDON_SECONDS = 2.0
"""How long a closing manager waits for coroutines to obey their cancellation."""
logger = logging.getLogger("asyncinfer.worker")


class Conclusions(Protocol):
    """Where ended attempts go: the finisher."""

    @property
    def is_full(self) -> bool: ...

    def add(self, attempt: RunningAttempt, outcome: Outcome) -> None: ...


class Worker(UsesStore):
    """The running attempts of one manager, and the loop that claims more."""

    def __init__(
        self,
        store: JobStore,
        clock: Clock,
        journal: Journal,
        finisher: Conclusions,
        pools: Sequence[Pool],
        observers: Observers,
        *,
        worker_id: str,
        lease: int,
        cancel_grace: float,
        jobs: Slots,
        ledger: Ledger | None,
        on_unfit: Callable[[Sequence[PoolModel]], None],
        on_claimed: Callable[[Sequence[RunningAttempt]], None],
        on_moved: Callable[[Sequence[JobKey]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._journal = journal
        self._finisher = finisher
        self._observers = observers
        self._entries = {name: (pool, entry) for pool in pools for name, entry in pool.models.items()}
        self._jobs = jobs
        self._planner = Planner(pools, jobs, worker_id=worker_id, lease=lease, ledger=ledger)
        self._devices: dict[Call, int] = {}
        """Where calls are counted that keep a share of a device busy."""
        self._cancel_grace = cancel_grace
        self._on_unfit = on_unfit
        self._on_claimed = on_claimed
        self._on_moved = on_moved
        self._wake = asyncio.Event()
        self._claimed = asyncio.Event()
        self._claimed.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[Call, asyncio.Task[None]] = {}
        self._is_solo_waiting = False
        self.is_claiming = True
        self.attempts: dict[JobKey, RunningAttempt] = {}

    @property
    def running_calls(self) -> int:
        """Calls whose code has not returned, concluded or not."""
        return len(self._tasks)

    def claims(self) -> Sequence[Claim]:
        """Return the attempts that run."""
        return [attempt.claim for attempt in self.attempts.values()]

    def poke(self) -> None:
        """Look for work soon: something was submitted, or a slot became free."""
        self._wake.set()

    async def run(self) -> None:
        """Claim whenever there is room and reason, until `is_claiming` is unset."""
        tries = 0
        while self.is_claiming:
            self._wake.clear()
            plan = self._plan()
            next_at: int | None = None
            if plan is not None and plan.requests:
                self._claimed.clear()
                try:
                    count, next_at = self._begin(await self._store.claim(plan.requests))
                except StoreError as error:
                    logger.warning("claim failed, trying again: %s", error)
                    await self._clock.sleep(RETRY_SECONDS)
                    continue
                finally:
                    self._claimed.set()
                tries = 0 if count else tries + 1
                if plan.is_short if count else plan.is_crowded and tries < self._planner.models:
                    continue
            tries = 0
            if plan is not None and plan.unfit:
                self._on_unfit(plan.unfit)
            await self._sleep(next_at, None if plan is None else plan.held_until)

    async def wait_claimed(self) -> None:
        """Return once no claim is under way: what it brings would find its executor closed, and be charged a crash."""
        await self._claimed.wait()

    async def wait_idle(self) -> None:
        """Return once no attempt is running."""
        await self._idle.wait()

    def give_back_all(self) -> None:
        """End every running attempt here; its job goes back to the queue, uncharged."""
        for attempt in list(self.attempts.values()):
            self.stop(attempt, "drain")

    async def abandon_all(self) -> None:
        """Cancel the tasks of whatever still runs; code in threads, and coroutines that swallow it, are left behind."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        if tasks:
            _, stubborn = await asyncio.wait(tasks, timeout=ABANDON_SECONDS)
            for task in stubborn:
                logger.error("a model ignores its cancellation and is left running: %r", task)
            # One that was canceled before its first step has not taken itself out.
            self._tasks = {call: task for call, task in self._tasks.items() if not task.done()}

    def stop(self, attempt: RunningAttempt, reason: StopReason) -> None:
        """Ask an attempt's code to stop. A cancel has the grace to obey; any other reason ends the attempt at once."""
        if attempt.is_concluded or attempt.stop_reason == reason:
            return
        attempt.stop_reason = reason
        attempt.context.request_cancel()
        call, executor = attempt.call, attempt.pool.executor
        if reason == "time_limit" and not executor.has_begun(call):
            self.conclude(attempt, Outcome("not_run"))  # the loading goes on, and keeps its slot, for the next try
            return
        is_needed = not all(item.context.is_canceled for item in call.items)
        executor.cancel(call, attempt.item if is_needed else None)
        if reason == "cancel":
            self._set_timer(attempt, self._cancel_grace, lambda: self._end(attempt, reason))
        else:
            self._end(attempt, reason)

    def conclude(self, attempt: RunningAttempt, outcome: Outcome) -> None:
        """End the attempt, once: the first outcome counts, whatever its code does later."""
        if attempt.is_concluded:
            return
        attempt.is_concluded = True
        if attempt.timer is not None:
            attempt.timer.cancel()
        del self.attempts[attempt.key], attempt.call, attempt.context
        if not self.attempts:
            self._idle.set()
        self._finisher.add(attempt, outcome)

    def _end(self, attempt: RunningAttempt, reason: StopReason) -> None:
        """Conclude an attempt whose code may go on; where that can be ended, it is, once no neighbour needs it."""
        call, executor = attempt.call, attempt.pool.executor
        self.conclude(attempt, stopped(reason, attempt.claim))
        if executor.capabilities.hard_cancel and not any(one.call is call for one in self.attempts.values()):
            executor.cancel(call, hard=True)

    def _plan(self) -> Plan | None:
        """Return what to claim now; None: nothing, until a result is written or what runs has ended."""
        if self._finisher.is_full or (self._is_solo_waiting and self.attempts):
            return None
        return self._planner.plan(self._clock.monotonic(), is_idle=not self.attempts)

    def _begin(self, answers: Iterable[Claims]) -> tuple[int, int | None]:
        """Start every claim; return how many there were and when the next delayed job is ready."""
        next_at: int | None = None
        started: list[RunningAttempt] = []
        self._is_solo_waiting = False
        for answer in answers:
            self._is_solo_waiting = self._is_solo_waiting or answer.is_solo_waiting
            if answer.next_at is not None and (next_at is None or answer.next_at < next_at):
                next_at = answer.next_at
            if answer.ended:
                self._on_moved(answer.ended)
            for group in _groups(answer.claims):
                started += self._start(group)
        if started:
            self._idle.clear()
            self._on_claimed(started)
            if self._observers.all:
                self._observers.claimed(started)
        return len(started), next_at

    def _start(self, group: Sequence[Claim]) -> Sequence[RunningAttempt]:
        """Start one call; return its attempts."""
        pool, entry = self._entries[group[0].model]
        attempts: list[RunningAttempt] = []
        items: list[CallItem] = []
        call = Call(entry.runner, items, _time_limit(group))
        for claim in group:
            attempt = RunningAttempt(claim, pool, self._journal)
            attempt.call = call
            items.append(CallItem(claim.input, claim.content_type, attempt.context))
            attempts.append(attempt)
            self.attempts[attempt.key] = attempt
            if claim.time_limit is not None or claim.deadline is not None:
                self._limit_time(attempt)
        pool.assigned += 1
        self._count(entry, len(attempts), 1)
        if entry.is_large and entry.resources.device_share:
            self._devices[call] = self._planner.shares.take(entry.resources.device_share, pool.executor.devices)
        self._tasks[call] = self._loop.create_task(self._run(pool, entry, call, attempts), name=entry.name)
        return attempts

    async def _run(self, pool: Pool, entry: PoolModel, call: Call, attempts: Sequence[RunningAttempt]) -> None:
        outcomes: Sequence[Outcome]
        try:
            if attempts[0].stop_reason is not None and all(attempt.stop_reason is not None for attempt in attempts):
                outcomes = [Outcome("canceled")] * len(attempts)  # stopped between its claim and this task's first step
            elif self._observers.all:
                with self._observers.running(attempts):
                    outcomes = await pool.executor.run(call)
            else:
                outcomes = await pool.executor.run(call)
            if len(outcomes) != len(attempts):
                raise RuntimeError(f"it gave {len(outcomes)} outcomes for {len(attempts)} jobs")
        except asyncio.CancelledError:
            outcomes = [Outcome("canceled")] * len(attempts)
        except Exception as error:  # an executor's own defect must not lose the job
            logger.exception("executor %s failed to run %s", pool.executor.name, entry.name)
            broken = JobError(code="worker_lost", message=f"the executor failed: {error!r}", type=type(error).__name__)
            outcomes = [Outcome("worker_lost", error=broken)] * len(attempts)
        finally:
            del self._tasks[call]
            pool.assigned -= 1
            self._count(entry, -len(attempts), -1)
            if entry.is_large and entry.resources.device_share:
                self._planner.shares.give_back(entry.resources.device_share, self._devices.pop(call))
            if entry.need:
                entry.idle_since = self._clock.monotonic()
            self._wake.set()
        if outcomes[0].kind == "not_run" or len(outcomes) > 1 or entry.setbacks.count:
            self._note_setup(pool, entry, outcomes)
        for attempt, outcome in zip(attempts, outcomes, strict=True):
            self.conclude(attempt, outcome)

    def _note_setup(self, pool: Pool, entry: PoolModel, outcomes: Sequence[Outcome]) -> None:
        """Hold a model off whose setup has failed; let it go when a call of it has begun."""
        setbacks, now = entry.setbacks, self._clock.monotonic()
        failed = next((outcome for outcome in outcomes if outcome.kind == "not_run"), None)
        if failed is not None:
            setbacks.failed(failed.error, now)
            why = "its setup failed" if failed.error is None else failed.error.message
            logger.warning("%s; the jobs of model %s wait %.1f s", why, entry.name, setbacks.until - now)
        elif setbacks.count and any(_has_begun(outcome) for outcome in outcomes):
            setbacks.clear()

    def _limit_time(self, attempt: RunningAttempt) -> None:
        claim = attempt.claim
        limit_at = None if claim.time_limit is None else claim.claimed_at + claim.time_limit
        reason: StopReason = "time_limit"
        if limit_at is None or (claim.deadline is not None and claim.deadline < limit_at):
            limit_at, reason = claim.deadline, "deadline"
        if limit_at is not None:
            seconds = max(0.0, (limit_at - self._clock.now()) / 1000)
            self._set_timer(attempt, seconds, lambda: self.stop(attempt, reason))

    def _set_timer(self, attempt: RunningAttempt, seconds: float, callback: Callable[[], None]) -> None:
        if attempt.timer is not None:
            attempt.timer.cancel()
        attempt.timer = self._clock.call_later(seconds, callback)

    def _count(self, entry: PoolModel, jobs: int, calls: int) -> None:
        entry.calls += calls
        entry.slots.taken += jobs
        entry.queue.taken += jobs
        self._jobs.taken += calls * entry.resources.slots if entry.is_large else calls

    async def _sleep(self, next_at: int | None, held_until: float | None) -> None:
        seconds = IDLE_POLL_SECONDS
        if next_at is not None:
            seconds = min(seconds, max(0.001, (next_at - self._clock.now()) / 1000))
        if held_until is not None:
            seconds = min(seconds, max(0.001, held_until - self._clock.monotonic()))
        timer: Timer = self._clock.call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()


def _time_limit(group: Sequence[Claim]) -> float | None:
    """Return the seconds after which no job of a call may run any longer."""
    limits = [claim.time_limit for claim in group if claim.time_limit is not None]
    return max(limits) / 1000 if len(limits) == len(group) else None


def _has_begun(outcome: Outcome) -> bool:
    """Tell whether the model's own code ran, which it does only when it is set up."""
    error = outcome.error
    return outcome.kind in ("returned", "retry_later") or (error is not None and error.code == "model_error")


def _groups(claims: Sequence[Claim]) -> Iterable[Sequence[Claim]]:
    """Cut an answer into its batches; a job that runs alone is a group of its own."""
    batch: list[Claim] = []
    for claim in claims:
        if batch and claim.group != batch[0].group:
            yield batch
            batch = []
        batch.append(claim)
    if batch:
        yield batch
