"""The worker processes of an executor: which one runs a call, how many are kept, when one is replaced.

A process belongs to one class model, or one with a memory limit: what its setup has loaded and its crashes are its own.
Functions, which load nothing but their modules, share processes; each runs one call at a time all the same.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct, field

from asyncinfer.abc import ModelState, Runner
from asyncinfer.errors import SetupFailed
from asyncinfer_process import _memory
from asyncinfer_process._requests import load_of, max_part
from asyncinfer_process._watchdog import Watchdog
from asyncinfer_process._worker import Worker

STOP_SECONDS = 5.0
"""How long a worker may take for its teardown before it is killed."""
logger = logging.getLogger("asyncinfer.process")


class Habits(Struct, frozen=True, kw_only=True):
    """How processes are kept: the options of ProcessExecutor."""

    slots: int
    spares: int
    devices: tuple[int, ...]
    env: Mapping[str, str]
    kill_after: float
    max_jobs: int | None
    max_age: float | None
    max_rss: int | None


class Member(Struct, eq=False):
    """One process of the fleet."""

    worker: Worker
    memory_limit: int | None
    is_shared: bool
    device: int | None
    born: float
    numbers: dict[Runner, int] = field(default_factory=dict[Runner, int])
    """Of the models that are loaded, or being loaded as the last."""
    loading: asyncio.Task[SetupFailed | None] | None = None
    """Until its latest model is loaded."""
    is_taken: bool = False
    """A call runs in it, or somebody waits for its model to be loaded there."""
    has_successor: bool = True
    """Another one is started when it has gone."""

    @property
    def is_idle(self) -> bool:
        return not self.is_taken and not self.worker.is_leaving

    @property
    def runner(self) -> Runner:
        """Its latest model."""
        return next(reversed(self.numbers))

    def is_warm(self, runner: Runner) -> bool:
        """Tell whether the model is loaded."""
        return runner in self.numbers and (self.loading is None or runner is not self.runner)


class Fleet:
    """At most `slots + spares` processes, `slots` of them taken. All calls come from the loop's thread."""

    def __init__(self, habits: Habits) -> None:
        self._habits = habits
        self._loop = asyncio.get_running_loop()
        self._members: list[Member] = []
        """Those taken latest stand last."""
        self._slots = asyncio.Semaphore(habits.slots)
        """Taken in the order in which calls came, so that only as many as may run look for a process."""
        self._looking: list[asyncio.Future[None]] = []
        self._failed: set[Runner] = set()
        """Models whose latest setup failed."""
        self._numbers = itertools.count(1)
        self._is_closing = False
        self._watchdog = Watchdog(lambda: [(one.worker, one.memory_limit) for one in self._members])

    @property
    def pids(self) -> Sequence[int]:
        return [pid for member in self._members if (pid := member.worker.pid) is not None]

    def state(self, runner: Runner) -> ModelState:
        """Return how far a model is loaded, in its best process."""
        own = self._members_of(runner)
        staying = [member for member in own if not member.worker.is_leaving]
        if any(member.is_warm(runner) for member in staying):
            return "warm"
        if staying:
            return "loading"
        if runner in self._failed:
            return "failed"
        return "draining" if own else "unloaded"

    async def take_warm(self, runner: Runner) -> Member | None:
        """Take an idle process that has the model loaded, without waiting; None when there is none."""
        if self._slots.locked() or (member := self._warm(runner)) is None:
            return None
        await self._slots.acquire()  # at once: it is not locked
        return self._taken(member)

    async def take(self, runner: Runner, on_loading: Callable[[], None]) -> Member:
        """Take a process for the model, when there is one; `on_loading` is called when that has to load it first.

        Raises SetupFailed.
        """
        await self._slots.acquire()
        try:
            while True:
                while (member := self._warm(runner) or await self._coming(runner)) is None:
                    await self._change()
                self._taken(member)
                if member.loading is None:
                    return member
                on_loading()
                if await self._loads(member, runner):
                    return member
        except BaseException:
            self._slots.release()
            raise

    def give(self, member: Member) -> None:
        """Give a process back: to the next call, or to retirement."""
        member.is_taken = False
        if self._is_worn(member):
            member.worker.stop(STOP_SECONDS)
        self._slots.release()
        self._tell_change()

    async def prepare(self, runner: Runner) -> None:
        """Have one process with the model loaded. Raise SetupFailed."""
        while True:
            staying = [member for member in self._members_of(runner) if not member.worker.is_leaving]
            if any(member.is_warm(runner) for member in staying):
                return
            if staying:
                await self._loaded(staying[0])
                return
            if (member := await self._coming(runner)) is None:
                await self._change()
                continue
            member.is_taken = True
            if await self._loads(member, runner):
                member.is_taken = False
                self._tell_change()
                return

    async def release(self, runner: Runner) -> None:
        """End every process of a model; none of them may be taken. One that others share lives on without it."""
        self._failed.discard(runner)
        own = self._members_of(runner)
        for member in own:
            if len(member.numbers) > 1 and member.is_warm(runner):
                del member.numbers[runner]
        await self._retire(member for member in own if runner in member.numbers)

    def keep_spares(self, runner: Runner) -> None:
        """Have as many idle processes as there should be spares; what is missing is loaded for this model."""
        if not self._habits.spares or runner in self._failed:
            return
        for _ in range(self._habits.spares - sum(member.is_idle for member in self._members)):
            self._start_unasked(runner)

    def end(self) -> None:
        """Begin to end every process: the idle ones by their teardown, the others by force."""
        self._is_closing = True
        for member in self._members:
            self._dismiss(member)

    async def wait_ended(self) -> None:
        """Return when every process has ended."""
        for member in list(self._members):
            await member.worker.wait()

    # Which one

    @property
    def _has_room(self) -> bool:
        return not self._is_closing and len(self._members) < self._habits.slots + self._habits.spares

    def _members_of(self, runner: Runner) -> list[Member]:
        return [member for member in self._members if runner in member.numbers]

    def _warm(self, runner: Runner) -> Member | None:
        """Return an idle process that has the model loaded, the one used latest."""
        for member in reversed(self._members):
            if member.loading is None and member.is_idle and runner in member.numbers:
                return member
        return None

    def _taken(self, member: Member) -> Member:
        member.is_taken = True
        self._members.remove(member)
        self._members.append(member)
        return member

    async def _coming(self, runner: Runner) -> Member | None:
        """Return a process in which the model is being loaded, started now if need be. Raise SetupFailed.

        Where there is no room, the one that has idled longest makes room, or one that loads a model for nobody. None
        when none is idle.
        """
        for member in self._members_of(runner):
            if member.is_idle:
                return member
        may_join = _may_share(runner) and runner not in self._failed
        for member in self._members if may_join else ():
            if member.is_shared and member.is_idle and member.loading is None:
                self._begin_load(member, runner)
                return member
        if not self._has_room:
            idle = [member for member in self._members if member.is_idle]
            if not idle:
                return None
            await self._retire([min(idle, key=lambda member: member.loading is not None)])
        return self._start(runner) if self._has_room else None

    async def _change(self) -> None:
        """Return when a process has been given back, has been loaded or has left."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._looking.append(future)
        await future

    def _tell_change(self) -> None:
        looking, self._looking = self._looking, []
        for future in looking:
            if not future.done():
                future.set_result(None)

    # Coming

    def _start(self, runner: Runner) -> Member:
        """Start a process and have it load the model. Raise SetupFailed when none can be started."""
        habits, spec = self._habits, runner.spec
        device = self._least_used_device()
        env = dict(habits.env) if device is None else {**habits.env, "CUDA_VISIBLE_DEVICES": str(device)}
        name = f"asyncinfer-process-{next(self._numbers)}"
        try:
            worker = Worker(name, env, kill_after=habits.kill_after, max_part=max_part(spec), on_end=self._left)
        except (OSError, RuntimeError) as error:
            raise SetupFailed(f"model {spec.model}: no worker process can be started: {error}") from error
        member = Member(worker, spec.memory_limit, _may_share(runner), device, self._loop.time())
        self._members.append(member)
        self._begin_load(member, runner)
        self._watchdog.arm()
        return member

    def _begin_load(self, member: Member, runner: Runner) -> None:
        number = member.numbers[runner] = max(member.numbers.values(), default=0) + 1
        loading = self._load(member, runner, number)
        member.loading = self._loop.create_task(loading, name=f"{member.worker.name} loads {runner.model}")

    def _start_unasked(self, runner: Runner) -> None:
        """Start a process that no call waits for, if there is room."""
        if self._has_room:
            try:
                self._start(runner)
            except SetupFailed as error:
                logger.warning("%s", error)

    async def _load(self, member: Member, runner: Runner, number: int) -> SetupFailed | None:
        """Load a model; return why that failed. The process is ended then, unless it has others."""
        cores = os.cpu_count() or 1
        device = None if member.device is None else "cuda:0"  # the only one that it sees
        try:
            threads = max(1, cores // self._habits.slots)
            load, pickled = load_of(runner.spec, number, device=device, threads=threads)
            await member.worker.load(load, pickled)
        except Exception as error:  # noqa: BLE001  whatever it is, the model is not there
            failure = error if isinstance(error, SetupFailed) else SetupFailed(str(error) or repr(error))
            ended = member.worker.exit
            if ended is None or ended.killed_for != "closing":  # it had to go, and has not failed
                self._failed.add(runner)
                if not member.is_taken:
                    logger.warning("a worker process is not ready: %s", failure)
            if len(member.numbers) > 1:
                del member.numbers[runner]
                member.loading = None
            else:
                member.has_successor = False
                member.worker.kill("closing", at_once=True)
            return failure
        self._failed.discard(runner)
        member.loading = None
        self._tell_change()
        return None

    async def _loads(self, member: Member, runner: Runner) -> bool:
        """Wait until a taken process has loaded the model; it is taken no more when it has not. Raise SetupFailed.

        False when it died of others that it had loaded, it may be: another process should try.
        """
        try:
            await self._loaded(member)
        except BaseException as error:
            member.is_taken = False
            self._tell_change()
            had_others = runner not in member.numbers
            if isinstance(error, SetupFailed) and had_others and member.worker.is_leaving:
                return False
            raise
        return True

    async def _loaded(self, member: Member) -> None:
        """Wait until the member's model is loaded. Raise SetupFailed."""
        if member.loading is not None and (failure := await asyncio.shield(member.loading)) is not None:
            raise failure

    def _least_used_device(self) -> int | None:
        used = [member.device for member in self._members]
        return min(self._habits.devices, key=used.count, default=None)

    # Leaving

    def _is_worn(self, member: Member) -> bool:
        habits, worker = self._habits, member.worker
        if habits.max_jobs is not None and worker.calls >= habits.max_jobs:
            return True
        if habits.max_age is not None and self._loop.time() - member.born >= habits.max_age:
            return True
        if habits.max_rss is None or worker.pid is None:
            return False
        return (_memory.resident_bytes(worker.pid) or 0) > habits.max_rss

    def _dismiss(self, member: Member) -> None:
        """End a process for good: by its teardown, or by force while there is nothing to tear down."""
        member.has_successor = False
        if member.is_taken or member.loading is not None:
            member.worker.kill("closing", at_once=True)
        else:
            member.worker.stop(STOP_SECONDS)

    async def _retire(self, members: Iterable[Member]) -> None:
        leaving = list(members)
        for member in leaving:
            self._dismiss(member)
        for member in leaving:
            await member.worker.wait()

    def _left(self, worker: Worker) -> None:
        member = next(member for member in self._members if member.worker is worker)
        self._members.remove(member)
        if member.has_successor and member.loading is None and worker.calls:
            self._start_unasked(member.runner)
        self._tell_change()


def _may_share(runner: Runner) -> bool:
    """Tell whether a model may be in a process with others: it has nothing to set up, and no memory limit."""
    return not isinstance(runner.spec.code, type) and runner.spec.memory_limit is None
