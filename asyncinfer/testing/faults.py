"""What a test plans to go wrong between a caller and its store, and what was called meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, NamedTuple, ParamSpec, TypeVar

from asyncinfer.abc import Clock, JobStore, Outbox
from asyncinfer.errors import InvalidOption

P = ParamSpec("P")
R = TypeVar("R")

When = Literal["before", "after"]
"""before: the store is never asked. after: it has done its part, and the answer is lost or late."""

ANY = "*"
"""Stands for every call but open and close."""


class StoreCall(NamedTuple):
    """One call that was made: its name (`finish`, `outbox.settle`) and its positional arguments."""

    name: str
    args: tuple[object, ...]


class Fault:
    """One planned fault. It strikes the `nth` matching call from now on and the ones behind it, `times` in all."""

    def __init__(
        self, call: str, when: When, nth: int, times: int | None, strike: Callable[[Fault], Awaitable[None]]
    ) -> None:
        self.call: str = call
        self.when: When = when
        self.reached: asyncio.Event = asyncio.Event()
        """Set when it strikes first."""
        self.released: asyncio.Event = asyncio.Event()
        self.hits: int = 0
        self._nth = nth
        self._times = times
        self._seen = 0
        self._strike = strike

    def release(self) -> None:
        """Let every call that hangs here go on; later ones pass."""
        self.released.set()

    async def meet(self, name: str, when: When) -> None:
        """Strike if this is the call, the side of it and the turn that was planned."""
        if when != self.when or not self._matches(name):
            return
        self._seen += 1
        behind = self._seen - self._nth
        if behind >= 0 and (self._times is None or behind < self._times):
            self.hits += 1
            self.reached.set()
            await self._strike(self)

    def _matches(self, name: str) -> bool:
        return name == self.call or (self.call == ANY and name not in ("open", "close"))


class Faults:
    """The faults planned for one store, and the calls made to it."""

    def __init__(self, clock: Clock) -> None:
        self.calls: list[StoreCall] = []
        self._clock_of_delays = clock
        self._planned: list[Fault] = []

    def fail(
        self,
        call: str,
        error: BaseException | type[BaseException],
        *,
        when: When = "before",
        nth: int = 1,
        times: int | None = 1,
    ) -> Fault:
        """Plan to raise `error`; a class is raised with a message that names the call."""

        async def strike(fault: Fault) -> None:
            if isinstance(error, BaseException):
                # One instance may strike often: it must not gather the frames of all its raises.
                raise error.with_traceback(None)
            raise error(f"a test made {fault.call} fail {fault.when} the store was asked")

        return self._plan(Fault(call, when, nth, times, strike))

    def delay(self, call: str, seconds: float, *, when: When = "before", nth: int = 1, times: int | None = 1) -> Fault:
        """Plan to wait `seconds` of the store's clock."""

        async def strike(fault: Fault) -> None:
            await self._clock_of_delays.sleep(seconds)

        return self._plan(Fault(call, when, nth, times, strike))

    def hang(self, call: str, *, when: When = "before", nth: int = 1, times: int | None = 1) -> Fault:
        """Plan to wait until the fault is released, or for ever."""

        async def strike(fault: Fault) -> None:
            await fault.released.wait()

        return self._plan(Fault(call, when, nth, times, strike))

    def heal(self) -> None:
        """Forget every planned fault and release what hangs."""
        for fault in self._planned:
            fault.release()
        self._planned.clear()

    def calls_of(self, name: str) -> int:
        """Return how often `name` was called, whatever came of it."""
        return sum(call.name == name for call in self.calls)

    async def through(self, name: str, method: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Make the call, meeting the faults planned before and after it."""
        self.calls.append(StoreCall(name, args))
        await self.meet(name, "before")
        answer = await method(*args, **kwargs)
        await self.meet(name, "after")
        return answer

    async def meet(self, name: str, when: When) -> None:
        """Strike with each fault that is planned for this side of this call."""
        for fault in tuple(self._planned):
            await fault.meet(name, when)

    def _plan(self, fault: Fault) -> Fault:
        if fault.call not in _CALLS:
            raise InvalidOption(
                f"call: expected a method of JobStore, outbox.<method of Outbox> or '*', got {fault.call!r}"
            )
        self._planned.append(fault)
        return fault


_CALLS: frozenset[str] = frozenset(
    {ANY, *JobStore.__abstractmethods__, *(f"outbox.{name}" for name in Outbox.__abstractmethods__)} - {"from_url"}
)
