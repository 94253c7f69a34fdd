"""The running parts of one manager, wired together; opened in order, closed in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence

import msgspec

from asyncinfer._clock import Clock
from asyncinfer._job import JobKey, NewJob
from asyncinfer._limits import Limits, Retention
from asyncinfer._resources import MemoryBudget
from asyncinfer._services.attempt import RunningAttempt
from asyncinfer._services.drain_rate import DrainRate
from asyncinfer._services.finisher import Finisher
from asyncinfer._services.heartbeat import Heartbeat
from asyncinfer._services.journal import Journal
from asyncinfer._services.ledger import Ledger
from asyncinfer._services.measured_store import MeasuredStore
from asyncinfer._services.observers import Observers
from asyncinfer._services.pool import Pool, PoolModel, Slots
from asyncinfer._services.pruner import Pruner
from asyncinfer._services.releases import release
from asyncinfer._services.rescuer import Rescuer
from asyncinfer._services.room_maker import RoomMaker
from asyncinfer._services.supervisor import Supervisor
from asyncinfer._services.waiters import Ending, Waiter, Waiters
from asyncinfer._services.worker import Worker
from asyncinfer._submission import JobFactory
from asyncinfer.abc import CancelAnswer, Claim, Inserted, JobStore, ModelState, PublishedModel, Telemetry, WorkerInfo
from asyncinfer.errors import Draining, OutcomeUnknown, StoreError

ROOM_POLL_SECONDS = 1.0
"""A submit that waits for room looks again after this: room may be made in another process."""
INSERT_TRIES = 3
"""An insert of unknown outcome is repeated: its id makes that harmless."""
INSERT_AGAIN_SECONDS = 0.25
"""Only while it is so young: a store that has used up its deadline would use up the caller's time once more."""
REGISTRY_SECONDS = 5.0
CLOSE_SECONDS = 10.0
"""What the last writes of a closing manager may take before it gives up on an absent store."""


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a manager was told that its parts need. Durations in milliseconds unless they say seconds."""

    limits: Limits
    retention: Retention
    lease: int
    cancel_grace: float
    """Seconds."""
    run_jobs: bool
    memory: MemoryBudget | None = None


class Engine:
    """The store, the services and the counts of one open manager."""

    def __init__(
        self,
        store: JobStore,
        options: EngineOptions,
        pools: Sequence[Pool],
        jobs: Slots,
        models: Iterable[PublishedModel],
        telemetry: Sequence[Telemetry] = (),
    ) -> None:
        clock = store.clock
        self.store: JobStore = store
        self.clock: Clock = clock
        self.limits: Limits = options.limits
        self.retention: Retention = options.retention
        self.pools: Sequence[Pool] = pools
        self.is_draining: bool = False
        self.draining: asyncio.Event = asyncio.Event()
        self.worker_id: str = "wrk_" + secrets.token_hex(12)
        self.published: dict[str, PublishedModel] = {}
        self.waiters: Waiters = Waiters(store, clock, remembers=options.run_jobs)
        self.supervisor: Supervisor = Supervisor()
        self.factory: JobFactory = JobFactory(options.limits, options.retention)
        self._options = options
        self._models = tuple(models)
        self._own_names = frozenset(model.name for model in self._models)
        self.observers: Observers = Observers(telemetry, clock, self._knows)
        self.on_live: list[Callable[[Sequence[Claim]], None]] = []
        """Who is told of attempts that have live subscriptions, as they begin."""
        self._is_prepared = asyncio.Event()
        self._room = asyncio.Event()
        self._room_line = asyncio.Lock()
        self._unclaimed: list[Waiter] = []
        self._drain_rate = DrainRate(clock.monotonic())
        self._model_rates: dict[str, DrainRate] = {}
        self.ledger: Ledger | None = None if options.memory is None else Ledger(options.memory)
        self._wire(jobs)
        if telemetry:
            self.measure()

    def _wire(self, jobs: Slots) -> None:
        """Make the services and connect each to those it tells."""
        store, clock, options, pools = self.store, self.clock, self._options, self.pools
        self.journal: Journal = Journal(store, clock, options.limits, lambda attempt: self.worker.stop(attempt, "lost"))
        self.journal.on_recorded = lambda attempt: self.waiters.changed(attempt.key)
        self.finisher: Finisher = Finisher(
            store,
            clock,
            self.journal,
            self.observers,
            worker_id=self.worker_id,
            on_ended=self.waiters.ended,
            on_requeued=self._requeued,
            on_moved=self._moved,
            on_room=self._has_room,
        )
        self.worker: Worker = Worker(
            store,
            clock,
            self.journal,
            self.finisher,
            pools,
            self.observers,
            worker_id=self.worker_id,
            lease=options.lease,
            cancel_grace=options.cancel_grace,
            jobs=jobs,
            ledger=self.ledger,
            on_unfit=self._unfit,
            on_claimed=self._claimed,
            on_moved=self._moved,
        )
        self.room_maker: RoomMaker | None = None
        if options.memory is not None and self.ledger is not None:
            self.room_maker = RoomMaker(
                store,
                clock,
                pools,
                self.ledger,
                idle_seconds=options.memory.idle_seconds,
                wait_claimed=self.worker.wait_claimed,
                on_room=self.worker.poke,
            )
        self.heartbeat: Heartbeat = Heartbeat(
            store, clock, self.worker, self.finisher, worker_id=self.worker_id, lease=options.lease
        )
        self.rescuer: Rescuer = Rescuer(
            store,
            clock,
            self.observers,
            lease=options.lease,
            own_attempts=self.worker.attempts.keys,
            renew_own=self.heartbeat.beat,
            on_moved=self._moved,
        )
        self.pruner: Pruner = Pruner(store, clock, tombstone=round(options.retention.tombstone * 1000))

    def measure(self) -> None:
        """Let every part call the store through one that tells how long it took, from the first observer on."""
        if isinstance(self.store, MeasuredStore):
            return
        self.store = MeasuredStore(self.store, self.observers.store_called)
        parts = (
            self.waiters, self.journal, self.finisher, self.worker, self.heartbeat, self.rescuer, self.pruner,
        )  # fmt: skip
        for part in parts:
            part.use_store(self.store)
        if self.room_maker is not None:
            self.room_maker.use_store(self.store)

    async def start(self) -> None:
        """Start the executors, make this worker known, start the services; claims wait until `prepared`."""
        self.published = {model.name: model for model in await self.store.models()}
        services: dict[str, Callable[[], Awaitable[None]]] = {
            "hints": lambda: self.waiters.follow(self._hint),
            "poll": self.waiters.poll,
            "pruner": self.pruner.run,
            "rescuer": self.rescuer.run,
        }
        if self._options.run_jobs:
            for pool in self.pools:
                await pool.executor.start(self.worker.poke)
            await self.store.register(self._worker_info(), self._options.lease)
            services |= {
                "worker": self._work,
                "finisher": self.finisher.run,
                "journal": self.journal.run,
                "heartbeat": self.heartbeat.run,
            }
            if self.room_maker is not None:
                services["room maker"] = self.room_maker.run
        else:
            services["registry"] = self._refresh_published
        self.supervisor.start(services)

    def prepared(self) -> None:
        """Let the worker claim: every model is set up, and no job's time limit pays for that."""
        self._is_prepared.set()

    async def drain(self, grace: float) -> None:
        """Accept and claim nothing more; give what runs `grace` seconds, then give it back uncharged."""
        self.is_draining = True
        self.draining.set()
        self.worker.is_claiming = False
        self.worker.poke()
        if not self._options.run_jobs:
            return
        await self.worker.wait_claimed()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.worker.wait_idle()
        self.worker.give_back_all()
        await self.finisher.wait_drained()

    async def close(self, grace: float) -> None:
        """Drain, then stop every part; the heartbeat beats to the last. Never hangs on an absent store."""
        with contextlib.suppress(TimeoutError):  # the store is away: leases end by themselves, what ran is rescued
            async with asyncio.timeout(grace + CLOSE_SECONDS):
                await self.drain(grace)
        self.journal.close()
        busy = {entry for pool in self.pools for entry in pool.models.values() if entry.calls}
        await self.worker.abandon_all()
        await release([(pool, entry) for pool in self.pools for entry in _idle(pool, busy)])
        for pool in self.pools:
            await pool.executor.close(0.0)
        await self.supervisor.stop()
        if self._options.run_jobs:
            with contextlib.suppress(StoreError):
                await self.store.unregister(self.worker_id)
        self.finisher.give_up(list(self.worker.attempts.values()))

    # Submitting

    async def insert(self, jobs: Sequence[NewJob]) -> Sequence[Inserted]:
        """Insert jobs; repeat it while the outcome is unknown. Raises Draining or a StoreError."""
        if self.is_draining:
            raise Draining("the manager is shutting down and accepts nothing new; submit to another one")
        self.worker.poke()  # the claim that follows joins the same commit
        until = self.clock.monotonic() + INSERT_AGAIN_SECONDS
        for _ in range(INSERT_TRIES - 1):
            try:
                return await self.store.insert(jobs, self.limits)
            except OutcomeUnknown:
                if self.clock.monotonic() >= until:
                    raise
        return await self.store.insert(jobs, self.limits)

    async def insert_when_room(self, job: NewJob) -> Inserted:
        """Insert one job, waiting in line while a limit is reached."""
        async with self._room_line:
            while True:
                self._room.clear()
                (answer,) = await self.insert([job])
                if answer.kind != "full":
                    return answer
                await self.wait_for(self._room, ROOM_POLL_SECONDS)

    def inserted(self, waiter: Waiter) -> None:
        """Make sure that a job which no claim took in passing is looked for."""
        if not self._unclaimed:
            asyncio.get_running_loop().call_soon(self._poke_for_unclaimed)
        self._unclaimed.append(waiter)

    def retry_after(self, queue: str) -> float:
        """Return seconds after which a refused submit may try again."""
        jobs, _ = self.limits.of_queue(queue)
        return self._drain_rate.retry_after(self.finisher.finished, self.clock.monotonic(), jobs)

    def seconds_until(self, ahead: int, model: str) -> float | None:
        """Return seconds after which a job with `ahead` others before it may start here; None when unknown."""
        now, ended = self.clock.monotonic(), self.finisher.finished_of[model]
        rate = self._model_rates.setdefault(model, DrainRate(now, ended)).per_second(ended, now)
        return ahead / rate if rate else None

    async def cancel(self, key: JobKey) -> CancelAnswer | None:
        """Cancel one job; a running one of this manager is told at once."""
        ((_, answer),) = await self.store.request_cancel([key])
        self.canceled(key, answer)
        return answer

    def canceled(self, key: JobKey, answer: CancelAnswer | None) -> None:
        """Act here on what the store answered to a wish to cancel."""
        if answer == "canceled":
            self.waiters.ended(key, Ending("canceled", None, None))
            self._room.set()
        elif answer == "requested" and (attempt := self.worker.attempts.get(key)) is not None:
            self.worker.stop(attempt, "cancel")

    async def wait_for(self, event: asyncio.Event, seconds: float) -> None:
        """Return when `event` is set, or after `seconds`."""
        timer = self.clock.call_later(seconds, event.set)
        try:
            await event.wait()
        finally:
            timer.cancel()

    def _knows(self, model: str) -> bool:
        return model in self._own_names or model in self.published

    def _poke_for_unclaimed(self) -> None:
        if any(not waiter.is_claimed_here for waiter in self._unclaimed):
            self.worker.poke()
        self._unclaimed.clear()

    def _claimed(self, attempts: Sequence[RunningAttempt]) -> None:
        self.waiters.claimed([attempt.key for attempt in attempts])
        self._room.set()
        if self.on_live and (live := [one.claim for one in attempts if one.claim.live_subscriptions]):
            for tell in self.on_live:
                tell(live)

    def _unfit(self, models: Sequence[PoolModel]) -> None:
        if self.room_maker is not None:
            self.room_maker.want(models)

    def _has_room(self) -> None:
        self.worker.poke()

    def _requeued(self, key: JobKey) -> None:
        self.waiters.requeued(key)
        self.worker.poke()

    def _moved(self, keys: Sequence[JobKey]) -> None:
        """Jobs were moved by the rescuer: whoever waits looks, and there may be work."""
        self.waiters.look_soon(keys)
        self.worker.poke()

    def _hint(self, keys: Sequence[JobKey] | None) -> None:
        self.worker.poke()
        self._room.set()
        if keys is None or any(key in self.worker.attempts for key in keys):
            self.heartbeat.hint()

    async def _work(self) -> None:
        await self._is_prepared.wait()
        await self.worker.run()

    def state_of(self, model: str) -> ModelState | None:
        """Return how far a model is loaded here; None where its code is elsewhere."""
        for pool in self.pools:
            if model in pool.models:
                return pool.executor.state(pool.models[model].runner)
        return None

    def _worker_info(self) -> WorkerInfo:
        return WorkerInfo(
            worker=self.worker_id,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self.clock.now(),
            slots={pool.executor.name: pool.executor.slots for pool in self.pools},
            models=self._models,
        )

    async def _refresh_published(self) -> None:
        while True:
            await self.clock.sleep(REGISTRY_SECONDS)
            self.published = {model.name: model for model in await self.store.models()}


def _idle(pool: Pool, busy: Collection[PoolModel]) -> Sequence[PoolModel]:
    """Return the models whose code is not running: not even in a thread that was left behind."""
    return [
        entry for entry in pool.models.values() if not entry.calls and not (entry in busy and pool.executor.abandoned)
    ]
