"""The process executor: `def` models in worker processes, one call at a time in each."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from msgspec import Struct

from asyncinfer.abc import (
    Call,
    CallItem,
    Capabilities,
    Executor,
    JobError,
    ModelState,
    Outcome,
    Runner,
    SetupContext,
)
from asyncinfer.errors import InvalidOption, SetupFailed
from asyncinfer_process._code import check_portable
from asyncinfer_process._exits import Exit
from asyncinfer_process._fleet import Fleet, Habits, Member

LOADING = "loading model"
"""What a job's progress says meanwhile."""


class Running(Struct, eq=False):
    """A call from `run` until its code has returned or its process has ended."""

    call: Call
    answer: asyncio.Future[Sequence[Outcome]]
    search: asyncio.Task[None] | None = None
    """While it has no process."""
    member: Member | None = None
    timer: asyncio.TimerHandle | None = None


class ProcessExecutor(Executor):
    """Runs `def` models in at most `slots` worker processes at once; POSIX only.

    A crash, a memory limit, a time limit or a hard cancel ends one process and with it one call: SIGTERM, and SIGKILL
    after `kill_after` seconds. A process belongs to one model and stays warm. `spares` more than the slots are kept
    loaded with the model used last, so that a slot whose process was ended goes on at once. A process is replaced after
    `max_jobs` calls, `max_age` seconds, or above `max_rss` bytes. With `devices` each process sees one of them
    (`CUDA_VISIBLE_DEVICES`), the one that the fewest have. `env` is set before its Python starts.

    Raises InvalidOption.
    """

    name: ClassVar[str] = "process"
    capabilities: ClassVar[Capabilities] = Capabilities(hard_cancel=True, hard_time_limit=True, isolated=True)

    def __init__(
        self,
        slots: int = 1,
        *,
        spares: int = 0,
        devices: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        kill_after: float = 2.0,
        max_jobs: int | None = None,
        max_age: float | None = None,
        max_rss: int | None = None,
    ) -> None:
        if os.name != "posix":
            raise InvalidOption(
                "executor 'process': expected a POSIX system (Linux, macOS); use executor='thread' here"
            )
        _require("slots", slots, 1)
        _require("spares", spares, 0)
        for name, value in (("max_jobs", max_jobs), ("max_rss", max_rss)):
            if value is not None:
                _require(name, value, 1)
        for name, seconds in (("kill_after", kill_after), ("max_age", max_age)):
            if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
                raise InvalidOption(f"{name}: expected seconds >= 0, got {seconds!r}")
        self.slots = slots
        self.devices: Sequence[int] = tuple(devices)
        self._habits = Habits(
            slots=slots,
            spares=spares,
            devices=tuple(devices),
            env=dict(env or {}),
            kill_after=kill_after,
            max_jobs=max_jobs,
            max_age=max_age,
            max_rss=max_rss,
        )
        self._fleet: Fleet | None = None
        self._running: dict[Call, Running] = {}
        self._all_free: asyncio.Event | None = None

    @property
    def free(self) -> int:
        return self.slots - len(self._running)

    @property
    def abandoned(self) -> int:
        return sum(running.answer.cancelled() for running in self._running.values())

    @property
    def copies(self) -> int:
        return self.slots + self._habits.spares

    @property
    def pids(self) -> Sequence[int]:
        """The processes that run now; for monitoring."""
        return [] if self._fleet is None else self._fleet.pids

    def check(self, runner: Runner) -> None:
        check_portable(runner.spec)

    def state(self, runner: Runner) -> ModelState:
        return "unloaded" if self._fleet is None else self._fleet.state(runner)

    async def start(self, on_free: Callable[[], None]) -> None:
        """Make ready; processes are started by `prepare` and by the first calls that need them."""
        self._on_free = on_free
        self._loop = asyncio.get_running_loop()
        self._fleet = Fleet(self._habits)

    async def prepare(self, runner: Runner, context: SetupContext) -> None:
        await self._started().prepare(runner)

    async def release(self, runner: Runner) -> None:
        await self._started().release(runner)

    async def run(self, call: Call) -> Sequence[Outcome]:
        """Run a call in a process that has its model loaded, or loads it; while every slot is taken it waits its turn.

        Raises RuntimeError before `start` and after `close`.
        """
        fleet = self._started()
        running = self._running[call] = Running(call, self._loop.create_future())
        member = fleet.take_warm(call.runner)
        if member is not None:
            self._begin(running, member)
        else:
            running.search = self._loop.create_task(self._find(fleet, running))
        return await running.answer

    def cancel(self, call: Call, item: CallItem | None = None, *, hard: bool = False) -> None:
        """Set the token of each item, or of one; `hard` ends the process, which answers with canceled outcomes."""
        running = self._running.get(call)
        if running is None:
            return
        for one in call.items if item is None else [item]:
            one.context.request_cancel()
        if running.member is not None:
            if hard:
                running.member.worker.kill("canceled")
            else:
                running.member.worker.cancel(None if item is None else call.items.index(item))
        elif running.search is not None and item is None:
            running.search.cancel()

    async def close(self, grace: float) -> None:
        """Stop. After `grace` seconds whatever still runs is ended with its process, and its await is canceled."""
        fleet, self._fleet = self._fleet, None
        if fleet is None:
            return
        if self._running:
            self._all_free = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._all_free.wait()
        for running in list(self._running.values()):
            running.answer.cancel()
            if running.search is not None:
                running.search.cancel()
        await fleet.close()

    def _started(self) -> Fleet:
        if self._fleet is None:
            raise RuntimeError("the process executor is not running")
        return self._fleet

    async def _find(self, fleet: Fleet, running: Running) -> None:
        """Begin a call as soon as there is a process for it."""
        call = running.call
        is_loading = False

        def tell_loading() -> None:
            nonlocal is_loading
            is_loading = True
            _tell(call, LOADING)

        try:
            member = await fleet.take(call.runner, tell_loading)
        except asyncio.CancelledError:
            self._end(running, [Outcome("canceled")] * len(call.items))
        except SetupFailed as error:
            reason = JobError(code="worker_lost", message=str(error), type="SetupFailed", retryable=True)
            self._end(running, [Outcome("not_run", error=reason)] * len(call.items))
        else:
            if is_loading:
                _tell(call, "")
            self._begin(running, member)

    def _begin(self, running: Running, member: Member) -> None:
        call = running.call
        running.search, running.member = None, member
        if call.time_limit is not None:
            running.timer = self._loop.call_later(call.time_limit, member.worker.kill, "time_limit")
        member.worker.run(call, lambda answer: self._answered(running, member, answer))
        for position, item in enumerate(call.items):
            if item.context.is_canceled:  # while it was looked for
                member.worker.cancel(position)
        if self._fleet is not None:
            self._fleet.keep_spares(call.runner)

    def _answered(self, running: Running, member: Member, answer: Sequence[Outcome] | Exit) -> None:
        if running.timer is not None:
            running.timer.cancel()
        outcomes = _outcomes(running.call, answer) if isinstance(answer, Exit) else answer
        if self._fleet is not None:
            self._fleet.give(member)
        self._end(running, outcomes)

    def _end(self, running: Running, outcomes: Sequence[Outcome]) -> None:
        del self._running[running.call]
        if not running.answer.done():
            running.answer.set_result(outcomes)
        if self._all_free is not None and not self._running:
            self._all_free.set()
        self._on_free()


def _outcomes(call: Call, end: Exit) -> Sequence[Outcome]:
    """Return what the end of its process makes of a call.

    Above a memory limit a job that was alone there is guilty; those of a batch are suspects, as after any crash.
    """
    if end.killed_for == "canceled":
        outcome = Outcome("canceled")
    elif end.killed_for == "time_limit":
        limit = JobError(
            code="time_limit", message=f"the attempt took longer than its time_limit of {call.time_limit:g} s"
        )
        outcome = Outcome("time_limit", error=limit)
    elif end.killed_for == "memory_limit" and len(call.items) == 1:
        outcome = Outcome("raised", error=end.error())
    else:
        outcome = Outcome("worker_lost", error=end.error())
    return [outcome] * len(call.items)


def _tell(call: Call, message: str) -> None:
    for item in call.items:
        item.context.progress(message=message)


def _require(name: str, value: int, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidOption(f"{name}: expected an int >= {low}, got {value!r}")
