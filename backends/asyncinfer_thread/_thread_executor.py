"""The thread executor: `def` models in the host's process, a dedicated thread for each slot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import ClassVar

from asyncinfer.abc import Call, CallItem, Capabilities, Executor, Outcome, Runner, SetupContext
from asyncinfer.errors import InvalidOption
from asyncinfer_thread._outcomes import canceled, raised
from asyncinfer_thread._setup import set_up, tear_down
from asyncinfer_thread._threads import Threads, Work


class ThreadExecutor(Executor):
    """Runs `def` models on `slots` threads of its own; a setup takes a slot as a call does.

    A running function cannot be ended: `cancel` sets the token that it may look at, and one that never looks keeps its
    slot until it returns. Threads share the interpreter's lock: pure-Python work belongs in a process.
    """

    name: ClassVar[str] = "thread"
    capabilities: ClassVar[Capabilities] = Capabilities()

    def __init__(self, slots: int = 4) -> None:
        if slots < 1:
            raise InvalidOption(f"slots: expected at least 1, got {slots!r}")
        self.slots = slots
        self._threads: Threads | None = None
        self._works: dict[Call, Work[Sequence[Outcome]]] = {}

    @property
    def free(self) -> int:
        return self.slots if self._threads is None else self._threads.free

    @property
    def abandoned(self) -> int:
        return 0 if self._threads is None else self._threads.abandoned

    async def start(self, on_free: Callable[[], None]) -> None:
        """Make ready; threads are started by the first calls that need them."""
        self._threads = Threads(self.name, self.slots, on_free)

    async def prepare(self, runner: Runner, context: SetupContext) -> None:
        await set_up(runner, context, self._started())

    async def run(self, call: Call) -> Sequence[Outcome]:
        """Run a call in a thread, in a copy of the context of this task; while every thread is busy it waits its turn.

        Raises RuntimeError before `start` and after `close`.
        """
        threads = self._started()
        context = copy_context()
        work = threads.submit(lambda: context.run(call.runner.run, call.items))
        self._works[call] = work
        try:
            await work.future
        except asyncio.CancelledError:
            threads.abandon(work, partial(self._works.pop, call))
            raise
        del self._works[call]
        if work.error is not None:
            return raised(call, work.error)
        assert work.value is not None
        return work.value

    async def release(self, runner: Runner) -> None:
        await tear_down(runner, self._started())

    def cancel(self, call: Call, item: CallItem | None = None, *, hard: bool = False) -> None:
        """Set the token of each item, of a call that was abandoned too; one that has not begun ends canceled."""
        work = self._works.get(call)
        if work is None:
            return
        if item is not None:
            item.context.request_cancel()
            return
        for item in call.items:
            item.context.request_cancel()
        if self._started().withdraw(work):
            work.value = canceled(call)
            work.future.set_result(None)

    async def close(self, grace: float) -> None:
        """Stop, and leave behind the threads whose function goes on after `grace` seconds: they end when it returns.

        A call that has not begun by now, or not returned by then, is detached: its await is canceled.
        """
        if self._threads is not None:
            await self._threads.close(grace)

    def _started(self) -> Threads:
        if self._threads is None:
            raise RuntimeError("the thread executor has not been started")
        return self._threads
