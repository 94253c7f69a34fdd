"""JobManager: checks what it is told, opens the parts, closes them in reverse."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import anyio
from msgspec.structs import replace

from asyncinfer._core import ManagerCore
from asyncinfer._engine import Engine, EngineOptions
from asyncinfer._health import Health, health_of
from asyncinfer._job import Job, JobKey
from asyncinfer._limits import Limits, Retention
from asyncinfer._models import Model
from asyncinfer._plugins import executor_class, store_from_url
from asyncinfer._registration import require_memory, require_reserves, require_runnable, reserves_of
from asyncinfer._resources import MemoryBudget
from asyncinfer._scoped import ScopedManager
from asyncinfer._services.ledger import Ledger
from asyncinfer._services.planner import held_memory
from asyncinfer._services.pool import Pool, PoolModel, Slots
from asyncinfer.abc import (
    Claim,
    Clock,
    Executor,
    JobStore,
    Outbox,
    PublishedModel,
    SetupContext,
    Telemetry,
    WorkerInfo,
)
from asyncinfer.errors import InvalidModel, InvalidOption

DEFAULT_SLOTS: Mapping[str, int] = {"loop": 100, "thread": 4}
DRAIN_SECONDS = 25.0
CANCEL_GRACE_SECONDS = 10.0
CLOSE_SECONDS = 60.0


class JobManager(ScopedManager):
    """Runs models as durable background jobs, in this process or through a shared store.

    `store` is a URL (`memory://`, `sqlite:///path`, …), then the manager opens and closes it, or a JobStore, which the
    caller closes. `models` are what this process runs; with `run_jobs=False` it only submits, and knows models that
    workers have published too. `executors` replaces executors by name. `concurrency` is how many jobs run at once:
    an int for all together (a batch counts once), or slots by executor (default: loop 100, thread 4). Seconds: `lease`
    (5 ms to a day; never a bound on run time), `cancel_grace` (how long a cancelled job may take to stop by itself),
    `drain_grace` (how long running jobs may take when the manager closes, before they are given back). `memory` bounds
    what the loaded models take together, by their `Resources`. `telemetry` watches: metrics, traces, or your own; see
    `observe`.

    `find`, `counts` and the `…_all` calls of this object see every owner's jobs; everything else, as on every
    ScopedManager, only its own owner's, the unnamed one.

    Raises InvalidOption and InvalidModel at once; opening raises UnknownPlugin, MissingExtra, StoreUnusable,
    SchemaTooNew, StoreUnavailable or SetupFailed.
    """

    def __init__(
        self,
        store: str | JobStore,
        *,
        models: Iterable[Model[..., Any, Any]] = (),
        executors: Mapping[str, Executor] | None = None,
        limits: Limits | None = None,
        lease: float = 60.0,
        retention: Retention | None = None,
        concurrency: int | Mapping[str, int] | None = None,
        run_jobs: bool = True,
        cancel_grace: float = CANCEL_GRACE_SECONDS,
        drain_grace: float = DRAIN_SECONDS,
        memory: MemoryBudget | None = None,
        telemetry: Telemetry | Sequence[Telemetry] | None = None,
    ) -> None:
        _require_seconds("lease", lease, 0.005, 86_400)
        _require_seconds("cancel_grace", cancel_grace, 0, 86_400)
        _require_seconds("drain_grace", drain_grace, 0, 86_400)
        if not isinstance(store, (str, JobStore)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption(f"store: expected a URL or a JobStore, got {type(store).__name__}")
        super().__init__(ManagerCore(_by_name(models), run_jobs=run_jobs), owner="")
        self._store_or_url = store
        self._executors = dict(executors or {})
        self._limits = limits or Limits()
        self._retention = retention or Retention()
        self._lease = lease
        self._total, self._slots = _concurrency(concurrency)
        self._run_jobs = run_jobs
        self._cancel_grace = cancel_grace
        self._drain_grace = drain_grace
        if memory is not None and not isinstance(memory, MemoryBudget):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption(f"memory: expected a MemoryBudget, got {type(memory).__name__}")
        self._memory = memory
        self._telemetry: list[Telemetry] = []
        for one in [telemetry] if isinstance(telemetry, Telemetry) else telemetry or ():
            self.observe(one)
        self._store: JobStore | None = None

    async def __aenter__(self) -> Self:
        if self._store is not None:
            raise InvalidOption("the manager is open already")
        store = self._store_or_url
        self._store = store if isinstance(store, JobStore) else store_from_url(store)
        try:
            await self._store.open()
            await self._start(self._store)
        except BaseException:
            await self._close(0.0)  # a setup failed or was cancelled: what has started would run on
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        engine = self._core.engine
        await self._close(self._drain_grace)
        failures = list(engine.supervisor.failures.values())
        if failures and error is None:
            raise ExceptionGroup("services of the manager failed while it ran (they were started again)", failures)

    @property
    def is_open(self) -> bool:
        """It stands inside `async with`."""
        return self._core.is_open

    def scoped(self, owner: str) -> ScopedManager:
        """Return a manager that sees and submits only `owner`'s jobs; `owner` has 1 to 255 characters.

        The empty string is the unnamed owner: what the manager itself submits, without everybody else's jobs.
        """
        if not isinstance(owner, str) or len(owner) > 255:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption(f"owner: expected at most 255 characters, got {owner!r}")
        return ScopedManager(self._core, owner)

    async def pause(self, queue: str) -> None:
        """Start no more jobs of the queue, in any process, until `resume`; running jobs and submits go on."""
        await self._engine.store.pause(queue)

    async def resume(self, queue: str) -> None:
        """Start jobs of the queue again."""
        await self._engine.store.resume(queue)
        self._engine.worker.poke()

    async def drain(self, grace: float | None = None) -> None:
        """Accept and start nothing more; wait up to `grace` seconds for what runs, then give it back uncharged."""
        _require_seconds("grace", grace if grace is not None else 0, 0, 86_400)
        await self._engine.drain(self._drain_grace if grace is None else grace)

    async def wait_draining(self) -> None:
        """Return once the manager has begun to drain or close: whoever streams from it should end."""
        await self._engine.draining.wait()

    # For senders of what is owed

    @property
    def outbox(self) -> Outbox:
        """What the store owes to subscribers, and how its deliveries went."""
        return self._engine.store.outbox

    @property
    def clock(self) -> Clock:
        """The store's clock."""
        return self._engine.clock

    async def records(self, keys: Sequence[JobKey], *, with_result: bool = True) -> Sequence[Job | None]:
        """Return jobs of any owner as they stand; None for one that is unknown or pruned."""
        return await self._engine.store.get(keys, with_result=with_result)

    def on_ending(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell` soon after jobs have ended in this process, until the returned function is called.

        A hint: it may come more often, and endings made elsewhere give none.
        """
        listeners = self._engine.waiters.on_ending
        listeners.append(tell)
        return lambda: listeners.remove(tell)

    def on_live(self, tell: Callable[[Sequence[Claim]], None]) -> Callable[[], None]:
        """Call `tell` with the attempts of this manager that have live subscriptions, as each begins.

        At once with those that run already; until the returned function is called. It must return without delay.
        """
        listeners = self._engine.on_live
        listeners.append(tell)
        if running := [claim for claim in self._engine.worker.claims() if claim.live_subscriptions]:
            tell(running)
        return lambda: listeners.remove(tell)

    async def health(self) -> Health:
        """Tell whether this manager is live and ready, and if not, why."""
        return await health_of(self._engine)

    def observe(self, telemetry: Telemetry) -> None:
        """Let `telemetry` watch this manager, from now until the manager is dropped.

        Best before the manager is opened. On an open one it works at once as well, so that an application may be built
        around a manager that runs: then the ends of some attempts are told whose beginning was not. Watching twice is
        watching once.
        """
        if not isinstance(telemetry, Telemetry):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
            raise InvalidOption(f"telemetry: expected a Telemetry, got {type(telemetry).__name__}")
        if not any(telemetry is one for one in self._telemetry):
            self._telemetry.append(telemetry)
        if self._core.is_open:
            self._core.engine.measure()

    def models(self) -> Sequence[PublishedModel]:
        """Return the models of this manager and those that workers have published, by name."""
        known = dict(self._engine.published)
        for name, model in self._core.models.items():
            known[name] = replace(model.publish(), state=self._engine.state_of(name))
        return [known[name] for name in sorted(known)]

    async def workers(self) -> Sequence[WorkerInfo]:
        """Return the managers that run jobs of this store."""
        return await self._engine.store.workers()

    @property
    def _sees(self) -> str | None:
        return None

    async def _start(self, store: JobStore) -> None:
        models = self._core.models
        for model in models.values():
            model.register()
        pools = self._pools() if self._run_jobs else []
        options = EngineOptions(
            limits=self._limits,
            retention=self._retention,
            lease=round(self._lease * 1000),
            cancel_grace=self._cancel_grace,
            run_jobs=self._run_jobs,
            memory=self._memory,
        )
        published = [model.publish() for model in models.values()]
        engine = Engine(store, options, pools, Slots(self._total), published, self._telemetry)
        self._core.opened(engine)
        await engine.start()
        await self._preload(engine)
        engine.prepared()

    async def _preload(self, engine: Engine) -> None:
        """Load the models in their order, as many as fit."""
        pools = {name: pool for pool in engine.pools for name in pool.models}
        for name in self._core.models if pools else ():
            pool = pools[name]
            entry = pool.models[name]
            if not entry.preload or (
                engine.ledger is not None and engine.ledger.excess([entry.need, *held_memory(engine.pools, entry)])
            ):
                continue
            await pool.executor.prepare(entry.runner, SetupContext(model=name, executor=pool.executor.name))
            entry.idle_since = engine.clock.monotonic()

    def _pools(self) -> list[Pool]:
        queues: dict[str, Slots] = {}
        by_executor: dict[str, dict[str, PoolModel]] = {}
        for name, model in self._core.models.items():
            queue = queues.setdefault(model.queue, Slots(_queue_concurrency(self._limits, model.queue)))
            by_executor.setdefault(model.executor, {})[name] = PoolModel(
                name,
                model.runner(self._limits),
                slots=Slots(model.concurrency),
                queue=queue,
                batch_size=1 if model.batch is None else model.batch.max_size,
                batch_cost=None if model.batch is None else model.batch.max_cost,
                batch_wait=0 if model.batch is None else round(model.batch.max_wait * 1000),
                preload=model.preload,
                resources=model.resources,
            )
        pools = [
            Pool(self._executor(name), entries, reserves_of(entries.values(), self._core.models, self._limits))
            for name, entries in by_executor.items()
        ]
        for pool in pools:
            require_runnable(pool, self._core.models)
        require_reserves(pools, self._total)
        if self._memory is not None:
            require_memory(pools, Ledger(self._memory))
        return pools

    def _executor(self, name: str) -> Executor:
        given = self._executors.get(name)
        if given is not None:
            return given
        slots = self._slots.get(name, DEFAULT_SLOTS.get(name))
        kind = executor_class(name)
        return kind() if slots is None else kind(slots)

    async def _close(self, grace: float) -> None:
        """Close what is open, in reverse, whatever fails on the way: a store left open would keep the process."""
        store, self._store = self._store, None
        with anyio.CancelScope(shield=True):
            try:
                if self._core.is_open:
                    with anyio.move_on_after(grace + CLOSE_SECONDS):
                        await self._core.engine.close(grace)
            finally:
                self._core.closed()
                if store is not None and isinstance(self._store_or_url, str):
                    await store.close()


def _by_name(models: Iterable[Model[..., Any, Any]]) -> Mapping[str, Model[..., Any, Any]]:
    found: dict[str, Model[..., Any, Any]] = {}
    for model in models:
        if not isinstance(model, Model):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
            raise InvalidOption(f"models: expected Models, got {type(model).__name__}; use asyncinfer.model(…)")
        if found.setdefault(model.name, model) is not model:
            raise InvalidModel(f"models: two models are named {model.name!r}; give one a name=")
    return found


def _concurrency(concurrency: int | Mapping[str, int] | None) -> tuple[int | None, Mapping[str, int]]:
    if concurrency is None:
        return None, {}
    if isinstance(concurrency, bool) or not isinstance(concurrency, (int, Mapping)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidOption(f"concurrency: expected int or a mapping of executor to int, got {concurrency!r}")
    counts = {"concurrency": concurrency} if isinstance(concurrency, int) else dict(concurrency)
    for name, count in counts.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidOption(f"{name}: expected an int >= 1, got {count!r}")
    return (concurrency, {}) if isinstance(concurrency, int) else (None, counts)


def _queue_concurrency(limits: Limits, queue: str) -> int | None:
    own = limits.queues.get(queue)
    return None if own is None else own.concurrency


def _require_seconds(name: str, seconds: float, low: float, high: float) -> None:
    is_number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
    if not is_number or not math.isfinite(seconds) or not low <= seconds <= high:
        raise InvalidOption(f"{name}: expected seconds from {low:g} to {high:g}, got {seconds!r}")
