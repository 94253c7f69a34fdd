"""Do heavy work off the loop: one call after another in one thread, or a long one in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


async def offload(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in a thread and return what it returns, as `asyncio.to_thread` does.

    Encoding and checking hold the interpreter lock, so a second thread would gain nothing; it would cost turns with the
    loop, and memory that one thread uses again. Jobs of 1 MiB, warm: 0.6 ms a job, with `to_thread` 1.2.
    """
    loop = asyncio.get_running_loop()
    line = _lines.get(loop)
    if line is None:
        line = _lines[loop] = _Line()
    work = _Work(partial(copy_context().run, partial(function, *args, **kwargs)), loop.create_future())
    line.add(work, loop)
    await work.future
    try:
        if work.error is not None:
            raise work.error
        return work.value
    finally:
        del work  # the error's traceback leads here: without it there is no ring for the collector


async def offload_long(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `function` in a daemon thread of its own: what may take minutes keeps nobody waiting, nor an exit.

    A cancelled await leaves it behind, and what it raises then is lost.
    """
    loop = asyncio.get_running_loop()
    work = _Work(partial(copy_context().run, partial(function, *args, **kwargs)), loop.create_future())

    def settle() -> None:
        if not work.future.done():
            work.future.set_result(None)

    def call() -> None:
        work.call()
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits
            loop.call_soon_threadsafe(settle)

    threading.Thread(target=call, name="asyncinfer-offload", daemon=True).start()
    await work.future
    if work.error is not None:
        raise work.error
    return work.value


class _Work(Generic[T_co]):
    __slots__ = ("error", "function", "future", "value")

    value: T_co

    def __init__(self, function: Callable[[], T_co], future: asyncio.Future[None]) -> None:
        self.function: Callable[[], T_co] | None = function
        self.future = future
        self.error: BaseException | None = None

    def call(self) -> None:
        function, self.function = self.function, None  # its arguments may be large
        if function is None or self.future.cancelled():
            return
        try:
            self.value = function()
        except BaseException as error:  # noqa: BLE001  raised again where it is awaited
            self.error = error


class _Line:
    """The heavy work of one loop. Bounded by who awaits it: submits, results, and attempts that run."""

    def __init__(self) -> None:
        self._waiting: deque[_Work[object]] = deque()
        self._called: deque[_Work[object]] = deque()
        self._is_served = False
        self._is_waking = False

    def add(self, work: _Work[object], loop: asyncio.AbstractEventLoop) -> None:
        self._waiting.append(work)
        if not self._is_served:
            loop.run_in_executor(None, self._serve, loop).add_done_callback(lambda _: self._served(loop))
            self._is_served = True

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """In the thread: do what waits, and wake the loop once for all that it has not yet taken."""
        # The loop may be closed under us: then nobody waits any more.
        with contextlib.suppress(RuntimeError):
            while self._waiting:
                work = self._waiting.popleft()
                work.call()
                self._called.append(work)
                del work
                if not self._is_waking:
                    self._is_waking = True
                    loop.call_soon_threadsafe(self._deliver)

    def _served(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_served = False
        if self._waiting:  # it came between the thread's last look and now
            self.add(self._waiting.pop(), loop)

    def _deliver(self) -> None:
        self._is_waking = False  # before the look: what is called from here on wakes again
        while self._called:
            work = self._called.popleft()
            if not work.future.done():
                work.future.set_result(None)


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
