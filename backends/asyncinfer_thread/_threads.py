"""Dedicated threads that take work from a loop, and wake it once for all that has ended meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


def _nothing() -> None: ...


class Work(Generic[T_co]):
    """One function to be called in a thread; `await future`, then look at `error` and `value`.

    Every field but these three belongs to `Threads`.
    """

    __slots__ = ("claim", "error", "forget", "function", "future", "has_returned", "thread", "value")

    def __init__(self, function: Callable[[], T_co], future: asyncio.Future[None]) -> None:
        self.function: Callable[[], T_co] | None = function
        self.future = future
        self.value: T_co | None = None
        self.error: BaseException | None = None
        self.claim: Callable[[bool], bool] = threading.Lock().acquire
        """`claim(False)` is True once: for the thread that is to call the function, or the loop that withdraws it."""
        self.thread: threading.Thread | None = None
        self.has_returned = False
        self.forget: Callable[[], object] | None = None
        """Called on return when nobody awaits the work any more."""

    def call(self) -> None:
        """Call the function in this thread, which survives whatever it raises."""
        function, self.function = self.function, None
        assert function is not None
        try:
            self.value = function()
        except BaseException as error:  # noqa: BLE001  SystemExit too would end the thread, and its slot with it
            self.error = error


class Threads:
    """At most `limit` daemon threads, started one by one as they are needed. All calls come from the loop's thread.

    A slot is taken from `submit` until the function has returned; `free` is negative while work waits for a thread.
    `on_free` is called on the loop after slots have become free, once for all that did.
    """

    def __init__(self, name: str, limit: int, on_free: Callable[[], None]) -> None:
        self.free = limit
        self.abandoned = 0
        """Works that nobody awaits any more and whose function goes on."""
        self._name = name
        self._limit = limit
        self._on_free = on_free
        self._loop = asyncio.get_running_loop()
        self._inbox: SimpleQueue[Work[object] | None] = SimpleQueue()
        self._ended: deque[Work[object]] = deque()
        self._is_waking = False
        self._threads: list[threading.Thread] = []
        self._taken: dict[Work[object], None] = {}
        self._all_free: asyncio.Event | None = None
        self._is_closing = False

    def submit(self, function: Callable[[], T]) -> Work[T]:
        """Hand over a function. Raise RuntimeError when closing, or when not one thread can be started."""
        if self._is_closing:
            raise RuntimeError(f"the {self._name} executor is closed")
        if len(self._threads) < self._limit and len(self._threads) <= len(self._taken):
            self._start_thread()
        work = Work(function, self._loop.create_future())
        self._taken[work] = None
        self.free -= 1
        self._inbox.put(work)
        return work

    def withdraw(self, work: Work[object]) -> bool:
        """Take back a work that no thread has begun, and say whether that was so; its future is left alone."""
        if not work.claim(False):
            return False
        work.function = None
        self._release(work)
        self._on_free()
        return True

    def abandon(self, work: Work[object], forget: Callable[[], object] = _nothing) -> None:
        """Stop waiting for a work. Its slot stays taken until its function returns; then `forget` is called."""
        if work.has_returned or self.withdraw(work):
            forget()
            return
        work.forget = forget
        self.abandoned += 1

    async def close(self, grace: float) -> None:
        """Withdraw what has not begun, wait up to `grace` seconds for the rest, end idle threads and leave busy ones.

        Awaits that are still open are canceled. A thread that is left ends when its function returns.
        """
        self._is_closing = True
        for work in list(self._taken):
            if self.withdraw(work):
                work.future.cancel()
        try:
            await self._wait_until_all_free(grace)
        finally:
            self._end_threads()

    def _end_threads(self) -> None:
        for work in self._taken:
            work.future.cancel()
        for _ in self._threads:
            self._inbox.put(None)
        busy = {work.thread for work in self._taken}
        for thread in self._threads:
            if thread not in busy:
                thread.join()  # it has nothing left to do but end: microseconds

    async def _wait_until_all_free(self, grace: float) -> None:
        if not self._taken:
            return
        self._all_free = self._all_free or asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._all_free.wait()

    def _start_thread(self) -> None:
        name = f"asyncinfer-{self._name}-{len(self._threads)}"
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no more threads: go on with those there are
            if not self._threads:
                raise
            return
        self._threads.append(thread)

    def _serve(self) -> None:
        """Call one work after another: what each thread does."""
        inbox, ended, thread = self._inbox, self._ended, threading.current_thread()
        while (work := inbox.get()) is not None:
            work.thread = thread  # before the claim: who finds a work claimed may ask by whom
            if work.claim(False):
                work.call()
                ended.append(work)
                if not self._is_waking:
                    self._wake()
            del work  # or an idle thread would keep its last result alive

    def _wake(self) -> None:
        # The flag goes up before the call and down before the deque is read, so a work that is appended after a drain
        # finds the flag down. Two threads may both find it down: one drain too many, never one too few.
        self._is_waking = True
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to tell
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        """Answer all that has ended."""
        self._is_waking = False
        count = len(self._ended)
        for _ in range(count):  # what ends meanwhile has called for a drain of its own
            work = self._ended.popleft()
            self._release(work)
            if not work.future.done():
                work.future.set_result(None)
            if work.forget is not None:
                self.abandoned -= 1
                work.forget()
        if count:
            self._on_free()

    def _release(self, work: Work[object]) -> None:
        work.has_returned = True
        del self._taken[work]
        self.free += 1
        if self._all_free is not None and not self._taken:
            self._all_free.set()
