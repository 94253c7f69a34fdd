"""The worker processes of an executor: which one runs a call, how many are kept, when one is replaced.

A process belongs to one model: what its setup has loaded, its memory limit and its crashes are its own.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

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
    runner: Runner
    device: int | None
    born: float
    loading: asyncio.Task[SetupFailed | None] | None = None
    """Until its model is loaded."""
    is_taken: bool = False
    """A call runs in it, or waits for its model to be loaded there."""
    is_leaving: bool = False
    has_successor: bool = True
    """Another one is started when it has gone."""

    @property
    def is_idle(self) -> bool:
        return not self.is_taken and not self.is_leaving


class Fleet:
    """At most `slots + spares` processes, `slots` of them taken. All calls come from the loop's thread."""

    def __init__(self, habits: Habits) -> None:
        self._habits = habits
        self._loop = asyncio.get_running_loop()
        self._members: list[Member] = []
        """Those taken latest stand last."""
        self._waiting: list[asyncio.Future[None]] = []
        self._failed: set[Runner] = set()
        """Models whose latest setup failed."""
        self._numbers = itertools.count(1)
        self._is_closing = False
        self._watchdog = Watchdog(lambda: [(one.worker, one.runner.spec.memory_limit) for one in self._members])

    @property
    def pids(self) -> Sequence[int]:
        return [pid for member in self._members if (pid := member.worker.pid) is not None]

    def state(self, runner: Runner) -> ModelState:
        """Return how far a model is loaded, in its best process."""
        own = self._members_of(runner)
        staying = [member for member in own if not member.is_leaving]
        if any(member.loading is None for member in staying):
            return "warm"
        if staying:
            return "loading"
        if own:
            return "draining"
        return "failed" if runner in self._failed else "unloaded"

    def take_warm(self, runner: Runner) -> Member | None:
        """Take an idle process that has the model loaded, the one used latest, unless every slot is taken."""
        if self._is_full:
            return None
        for member in reversed(self._members):
            if member.runner is runner and member.is_idle and member.loading is None:
                return self._take(member)
        return None

    async def take(self, runner: Runner, on_loading: Callable[[], None]) -> Member:
        """Take a process for the model, when there is one; `on_loading` is called when that has to load it first.

        Raises SetupFailed.
        """
        while True:
            if (warm := self.take_warm(runner)) is not None:
                return warm
            if not self._is_full and (member := await self._coming(runner)) is not None:
                self._take(member)
                on_loading()
                try:
                    await self._loaded(member)
                except BaseException:
                    self.give(member)
                    raise
                return member
            await self._change()

    def give(self, member: Member) -> None:
        """Give a process back: to the next call, or to retirement."""
        member.is_taken = False
        if not member.is_leaving and self._is_worn(member):
            self._retire(member, has_successor=True)
        self._tell_change()

    async def prepare(self, runner: Runner) -> None:
        """Have one process with the model loaded. Raise SetupFailed."""
        staying = [member for member in self._members_of(runner) if not member.is_leaving]
        if any(member.loading is None for member in staying):
            return
        member = staying[0] if staying else await self._coming(runner)
        if member is not None:
            await self._loaded(member)

    async def release(self, runner: Runner) -> None:
        """End every process of a model; none of them may be taken."""
        self._failed.discard(runner)
        await self._retire_all(self._members_of(runner))

    def keep_spares(self, runner: Runner) -> None:
        """Have as many idle processes as there should be spares; what is missing is loaded for this model."""
        idle = sum(member.is_idle for member in self._members)
        for _ in range(self._habits.spares - idle):
            self._start_if_room(runner)

    async def close(self) -> None:
        """End every process: the idle ones by their teardown, the others by force."""
        self._is_closing = True
        for member in self._members:
            if member.is_taken or member.loading is not None:
                member.worker.kill("closing", at_once=True)
        await self._retire_all(self._members)

    # Which one

    @property
    def _is_full(self) -> bool:
        return sum(member.is_taken for member in self._members) >= self._habits.slots

    @property
    def _has_room(self) -> bool:
        return not self._is_closing and len(self._members) < self._habits.slots + self._habits.spares

    def _members_of(self, runner: Runner) -> list[Member]:
        return [member for member in self._members if member.runner is runner]

    def _take(self, member: Member) -> Member:
        member.is_taken = True
        self._members.remove(member)
        self._members.append(member)
        return member

    async def _coming(self, runner: Runner) -> Member | None:
        """Return a process in which the model is being loaded, started now if need be.

        Where there is no room, the one that has idled longest makes room. None when none is idle.
        """
        for member in self._members_of(runner):
            if member.is_idle:
                return member
        idle = next((member for member in self._members if member.is_idle), None)
        if not self._has_room and idle is not None:
            await self._retire_all([idle])
        return self._start_if_room(runner)

    async def _change(self) -> None:
        """Return when a process has been given back or has left."""
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(future)
        await future

    def _tell_change(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    # Coming

    def _start_if_room(self, runner: Runner) -> Member | None:
        if not self._has_room:
            return None
        habits, spec = self._habits, runner.spec
        device = self._least_used_device()
        env = dict(habits.env) if device is None else {**habits.env, "CUDA_VISIBLE_DEVICES": str(device)}
        worker = Worker(
            f"asyncinfer-process-{next(self._numbers)}",
            env,
            kill_after=habits.kill_after,
            max_part=max_part(spec),
            on_end=self._left,
        )
        member = Member(worker, runner, device, self._loop.time())
        self._members.append(member)
        member.loading = self._loop.create_task(self._load(member), name=f"{worker.name} loads {spec.model}")
        self._watchdog.arm()
        return member

    async def _load(self, member: Member) -> SetupFailed | None:
        """Load the member's model; return why that failed."""
        cores = os.cpu_count() or 1
        device = None if member.device is None else "cuda:0"  # the only one that it sees
        try:
            load, pickled = load_of(member.runner.spec, device=device, threads=max(1, cores // self._habits.slots))
            await member.worker.load(load, pickled)
        except Exception as error:  # noqa: BLE001  whatever it is, the model is not there
            failure = error if isinstance(error, SetupFailed) else SetupFailed(f"{error}")
            self._failed.add(member.runner)
            member.is_leaving, member.has_successor = True, False
            member.worker.kill("closing", at_once=True)
            if not self._is_closing:
                logger.warning("a worker process is not ready: %s", failure)
            return failure
        self._failed.discard(member.runner)
        member.loading = None
        self._tell_change()
        return None

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

    def _retire(self, member: Member, *, has_successor: bool) -> None:
        member.has_successor = has_successor
        if not member.is_leaving:
            member.is_leaving = True
            member.worker.stop(STOP_SECONDS)

    async def _retire_all(self, members: Iterable[Member]) -> None:
        leaving = list(members)
        for member in leaving:
            self._retire(member, has_successor=False)
        for member in leaving:
            await member.worker.wait()

    def _left(self, worker: Worker) -> None:
        member = next(member for member in self._members if member.worker is worker)
        self._members.remove(member)
        if member.has_successor and member.loading is None:
            self._start_if_room(member.runner)
        self._tell_change()
