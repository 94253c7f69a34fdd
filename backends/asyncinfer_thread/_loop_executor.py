"""The loop executor: `async def` models on the host's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from asyncinfer.abc import Call, CallItem, Capabilities, Executor, Outcome, Runner, SetupContext
from asyncinfer.errors import InvalidOption
from asyncinfer_thread._outcomes import canceled, raised
from asyncinfer_thread._setup import set_up, tear_down
from asyncinfer_thread._threads import Threads


class LoopExecutor(Executor):
    """Runs `async def` models in the task that awaits `run`, `slots` at a time.

    `cancel` raises CancelledError in the model. One that swallows it goes on, and so does the await of `run`: a
    coroutine cannot be detached from the task it runs in. A context variable that a model sets is seen by that task, so
    each call needs a task of its own. Setups run one after another in a thread of their own, for
    they may block; they take no slot.
    """

    name: ClassVar[str] = "loop"
    capabilities: ClassVar[Capabilities] = Capabilities(runs_async=True)

    def __init__(self, slots: int = 100) -> None:
        if slots < 1:
            raise InvalidOption(f"slots: expected at least 1, got {slots!r}")
        self.slots = slots
        self._tasks: dict[Call, asyncio.Task[Any]] = {}  # Any: whatever the awaiting task returns
        self._asked: dict[Call, int] = {}
        """How often `cancel` has canceled the task of a running call."""
        self._setups: Threads | None = None
        self._is_closing = False
        self._all_free: asyncio.Event | None = None

    @property
    def free(self) -> int:
        return self.slots - len(self._tasks)

    async def start(self, on_free: Callable[[], None]) -> None:
        self._on_free = on_free
        self._loop = asyncio.get_running_loop()
        self._setups = Threads(self.name, 1, on_free=lambda: None)
        self._is_closing = False

    async def prepare(self, runner: Runner, context: SetupContext) -> None:
        await set_up(runner, context, self._started())

    async def run(self, call: Call) -> Sequence[Outcome]:
        """Run a call in this task. Canceled by `cancel` it returns outcomes; canceled from outside it raises.

        Raises RuntimeError before `start` and after `close`.
        """
        if self._is_closing or self._setups is None:
            raise RuntimeError("the loop executor is not running")
        task = asyncio.current_task(self._loop)
        assert task is not None
        from_outside = task.cancelling()
        self._tasks[call] = task
        try:
            outcomes = await call.runner.run_async(call.items)
        except asyncio.CancelledError as error:
            was_asked = self._take_back(call, task)
            if task.cancelling() > from_outside:
                raise
            return canceled(call) if was_asked else raised(call, error)
        except (Exception, SystemExit, GeneratorExit) as error:  # noqa: BLE001  an answer, not a job that runs for ever
            return raised(call, error)
        finally:
            del self._tasks[call]
            if self._all_free is not None and not self._tasks:
                self._all_free.set()
            self._on_free()
        if self._asked and self._take_back(call, task):
            await self._absorb(task, from_outside)
        return outcomes

    async def release(self, runner: Runner) -> None:
        await tear_down(runner, self._started())

    def cancel(self, call: Call, item: CallItem | None = None, *, hard: bool = False) -> None:
        """Set the token of each item and raise CancelledError where the call awaits; of one item set only the token."""
        task = self._tasks.get(call)
        if task is None:
            return
        if item is not None:
            item.context.request_cancel()
            return
        for item in call.items:
            item.context.request_cancel()
        self._asked[call] = self._asked.get(call, 0) + 1
        task.cancel()

    async def close(self, grace: float) -> None:
        """Stop, and cancel the tasks whose call goes on after `grace` seconds."""
        self._is_closing = True
        deadline = asyncio.get_running_loop().time() + grace
        if self._tasks:
            self._all_free = self._all_free or asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self._all_free.wait()
        for task in self._tasks.values():
            task.cancel()
        if self._setups is not None:
            await self._setups.close(max(deadline - asyncio.get_running_loop().time(), 0))

    def _take_back(self, call: Call, task: asyncio.Task[Any]) -> bool:
        """Undo what `cancel` left on the task, so that whoever owns it sees only cancellations of his own."""
        asked = self._asked.pop(call, 0)
        for _ in range(asked):
            task.uncancel()
        return asked > 0

    async def _absorb(self, task: asyncio.Task[Any], from_outside: int) -> None:
        """Meet a cancellation that came after the model's last await: Python 3.11 and 3.12 leave it pending."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if task.cancelling() > from_outside:
                raise

    def _started(self) -> Threads:
        if self._setups is None:
            raise RuntimeError("the loop executor has not been started")
        return self._setups
