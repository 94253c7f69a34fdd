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
from asyncinfer_process._exits import Elsewhere, Exit
from asyncinfer_process._fleet import Fleet, Habits, Member

LOADING = "loading model"
"""What a job's progress says meanwhile."""


class Running(Struct, eq=False):
    """A call from `run` until its code has returned or its process has ended."""

    call: Call
    answer: asyncio.Future[Sequence[Outcome]]
    search: asyncio.Task[Member] | None = None
    """While it has no process."""
    is_loading: bool = False
    """It shows that it waits for its model."""
    member: Member | None = None
    timer: asyncio.TimerHandle | None = None

    @property
    def is_unwanted(self) -> bool:
        """Nobody waits for any of its jobs."""
        return self.answer.cancelled() or all(item.context.is_canceled for item in self.call.items)


class ProcessExecutor(Executor):
    """Runs `def` models in at most `slots` worker processes at once; POSIX only.

    A crash, a memory limit, a time limit or a hard cancel ends one process and with it one call: SIGTERM, and SIGKILL
    after `kill_after` seconds. A process stays warm; it belongs to one class model, while functions share theirs.
    `spares` idle ones are kept beside those that run, so that a slot whose process was ended goes on at once; a missing
    one is loaded with the model used last. A process is replaced after a call when it has run `max_jobs`, is `max_age`
    seconds old, or has more than `max_rss` bytes. With `devices` each process sees one of them
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
        self._is_open = False
        self._all_ended: asyncio.Event | None = None

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
    def devices(self) -> Sequence[int]:
        return self._habits.devices

    @property
    def pids(self) -> Sequence[int]:
        """The processes that run now; for monitoring."""
        return [] if self._fleet is None else self._fleet.pids

    def check(self, runner: Runner) -> None:
        check_portable(runner.spec)

    def state(self, runner: Runner) -> ModelState:
        return "unloaded" if self._fleet is None else self._fleet.state(runner)

    def has_begun(self, call: Call) -> bool:
        """Another process may have the model loaded, while this call waits for its own."""
        running = self._running.get(call)
        return running is None or running.member is not None

    async def start(self, on_free: Callable[[], None]) -> None:
        """Make ready; processes are started by `prepare` and by the first calls that need them."""
        self._on_free = on_free
        self._loop = asyncio.get_running_loop()
        self._fleet = Fleet(self._habits)
        self._is_open = True

    async def prepare(self, runner: Runner, context: SetupContext) -> None:
        await self._started().prepare(runner)

    async def release(self, runner: Runner) -> None:
        await self._started().release(runner)

    async def run(self, call: Call) -> Sequence[Outcome]:
        """Run a call in a process that has its model loaded, or loads it; while every slot is taken it waits its turn.

        One that is abandoned before its code has begun is never run. Raises RuntimeError before `start` and after
        `close`.
        """
        fleet = self._started()
        running = self._running[call] = Running(call, self._loop.create_future())
        member = await fleet.take_warm(call.runner)
        if member is not None:
            self._begin(fleet, running, member)
        else:
            self._search(fleet, running)
        try:
            return await running.answer
        finally:
            if running.search is not None:
                running.search.cancel()

    def cancel(self, call: Call, item: CallItem | None = None, *, hard: bool = False) -> None:
        """Set the token of each item, or of one; `hard` ends the process, which answers with canceled outcomes."""
        running = self._running.get(call)
        if running is None:
            return
        for one in call.items if hard or item is None else [item]:
            one.context.request_cancel()
        if running.member is None:
            if running.is_unwanted and running.search is not None:
                running.search.cancel()
        elif hard:
            running.member.worker.kill("canceled")
        else:
            running.member.worker.cancel(None if item is None else call.items.index(item))

    async def close(self, grace: float) -> None:
        """Stop. What has not begun is let go; after `grace` seconds whatever still runs is ended with its process."""
        if self._fleet is None or not self._is_open:
            return
        fleet, self._is_open = self._fleet, False
        self._all_ended = asyncio.Event()
        try:
            for running in self._running.values():
                if running.search is not None:
                    running.answer.cancel()
                    running.search.cancel()
            if self._running:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await self._all_ended.wait()
        finally:
            for running in self._running.values():
                running.answer.cancel()
            fleet.end()
        await fleet.wait_ended()
        if self._running:
            await self._all_ended.wait()

    def _started(self) -> Fleet:
        if self._fleet is None or not self._is_open:
            raise RuntimeError("the process executor is not running")
        return self._fleet

    def _search(self, fleet: Fleet, running: Running) -> None:
        """Begin a call as soon as there is a process for it."""
        call = running.call

        def show_loading() -> None:
            running.is_loading = True
            _tell(call, LOADING)

        running.search = self._loop.create_task(fleet.take(call.runner, show_loading))
        # A callback, since a task that is canceled before its first step runs nothing of its own.
        running.search.add_done_callback(lambda search: self._found(fleet, running, search))

    def _found(self, fleet: Fleet, running: Running, search: asyncio.Task[Member]) -> None:
        call, running.search = running.call, None
        if search.cancelled():
            self._end(running, [Outcome("canceled")] * len(call.items))
            return
        if (error := search.exception()) is not None:
            self._end(running, [_not_run(item, error) for item in call.items])
            return
        member = search.result()
        if running.is_unwanted:
            fleet.give(member)
            self._end(running, [Outcome("canceled")] * len(call.items))
        elif member.worker.is_leaving:
            fleet.give(member)
            self._search(fleet, running)
        else:
            if running.is_loading:
                _tell(call, "")
                self._on_free()  # what waited for the model to be loaded may fill the other slots
            self._begin(fleet, running, member)

    def _begin(self, fleet: Fleet, running: Running, member: Member) -> None:
        call = running.call
        running.member = member
        if call.time_limit is not None:
            running.timer = self._loop.call_later(call.time_limit, member.worker.kill, "time_limit")
        member.worker.run(
            call, member.numbers[call.runner], lambda answer: self._answered(fleet, running, member, answer)
        )
        fleet.keep_spares(call.runner)

    def _answered(self, fleet: Fleet, running: Running, member: Member, answer: Sequence[Outcome] | Exit) -> None:
        if running.timer is not None:
            running.timer.cancel()
        call = running.call
        outcomes = [_lost(call, item, answer) for item in call.items] if isinstance(answer, Exit) else answer
        fleet.give(member)
        self._end(running, outcomes)

    def _end(self, running: Running, outcomes: Sequence[Outcome]) -> None:
        del self._running[running.call]
        if not running.answer.done():
            running.answer.set_result(outcomes)
        if self._all_ended is not None and not self._running:
            self._all_ended.set()
        self._on_free()


def _lost(call: Call, item: CallItem, end: Exit) -> Outcome:
    """Return what the end of its process makes of a job.

    Above a memory limit a job that was alone there is guilty; those of a batch are suspects, as after any crash.
    """
    if end.killed_for == "canceled":
        return Outcome("canceled")
    attempt = item.context.attempt
    if end.killed_for == "time_limit":
        message = f"the attempt took longer than its time_limit of {call.time_limit:g} s"
        return Outcome("time_limit", error=JobError(code="time_limit", message=message, attempt=attempt))
    is_guilty = end.killed_for == "memory_limit" and len(call.items) == 1
    return Outcome("raised" if is_guilty else "worker_lost", error=end.error(attempt))


def _not_run(item: CallItem, error: BaseException) -> Outcome:
    cause = error.__cause__
    reason = JobError(
        code="model_error",
        message=str(error),
        type=f"{SetupFailed.__module__}.{SetupFailed.__qualname__}",
        traceback=str(cause) if isinstance(cause, Elsewhere) else "",
        retryable=True,
        attempt=item.context.attempt,
    )
    return Outcome("not_run", error=reason)


def _tell(call: Call, message: str) -> None:
    for item in call.items:
        item.context.progress(message=message)


def _require(name: str, value: int, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidOption(f"{name}: expected an int >= {low}, got {value!r}")
