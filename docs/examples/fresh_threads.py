"""An executor of one's own: each call runs in a new thread, which ends with it."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from typing import ClassVar, TypeVar

from asyncinfer.abc import Call, CallItem, Capabilities, Executor, Outcome, Runner, SetupContext

T = TypeVar("T")


class FreshThreadExecutor(Executor):
    """For libraries that keep state in each thread and never give it back."""

    name: ClassVar[str] = "fresh"
    capabilities: ClassVar[Capabilities] = Capabilities()  # no async, and nothing can be ended by force

    def __init__(self, slots: int = 4) -> None:
        super().__init__(slots)
        self._turns = asyncio.Semaphore(slots)
        self._running: dict[Call, asyncio.Future[Sequence[Outcome]]] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def free(self) -> int:
        return self.slots - len(self._running)

    @property
    def abandoned(self) -> int:
        return sum(future.cancelled() for future in self._running.values())

    async def start(self, on_free: Callable[[], None]) -> None:
        self._on_free = on_free

    async def prepare(self, runner: Runner, context: SetupContext) -> None:
        await _in_thread(partial(runner.setup, context), on_return=lambda: None)

    async def release(self, runner: Runner) -> None:
        await _in_thread(runner.teardown, on_return=lambda: None)

    async def run(self, call: Call) -> Sequence[Outcome]:
        await self._turns.acquire()
        self._idle.clear()
        future = _in_thread(partial(call.runner.run, call.items), on_return=partial(self._returned, call))
        self._running[call] = future
        return await future  # a cancelled await leaves the code to itself; it keeps its slot

    def cancel(self, call: Call, item: CallItem | None = None, *, hard: bool = False) -> None:
        if call in self._running:
            for one in call.items if item is None else [item]:
                one.context.request_cancel()

    async def close(self, grace: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._idle.wait()
        for future in self._running.values():
            future.cancel()

    def _returned(self, call: Call) -> None:
        del self._running[call]
        if not self._running:
            self._idle.set()
        self._turns.release()
        self._on_free()


def _in_thread(function: Callable[[], T], on_return: Callable[[], None]) -> asyncio.Future[T]:
    """Call `function` in a new thread; the future and `on_return` hear of it on the loop."""
    loop = asyncio.get_running_loop()
    context = copy_context()  # a current span, say, is the model's too
    future: asyncio.Future[T] = loop.create_future()

    def settle(answer: Callable[[], None]) -> None:
        thread.join()  # it has nothing left to do but end
        on_return()
        if not future.done():
            answer()

    def body() -> None:
        try:
            answer = partial(future.set_result, context.run(function))
        except BaseException as error:  # noqa: BLE001  whatever a setup raises is for whoever awaits it
            answer = partial(future.set_exception, error)
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to tell
            loop.call_soon_threadsafe(settle, answer)

    thread = threading.Thread(target=body, name="asyncinfer-fresh", daemon=True)
    thread.start()
    return future
