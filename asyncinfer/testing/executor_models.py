"""The models that the ExecutorSuite runs, each as `def` and as `async def`; an executor may import them elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from msgspec import Struct

from asyncinfer import current_batch, current_job
from asyncinfer.abc import SetupContext
from asyncinfer.errors import RetryLater
from asyncinfer.testing.gate import wait_at, wait_at_async

POLL_SECONDS = 0.001
"""How often a `def` model looks whether it should stop."""

calls_before: ContextVar[int] = ContextVar("calls_before", default=0)


class Item(Struct):
    """The input of a batch model."""

    number: int


def double(number: int) -> int:
    return 2 * number


async def double_async(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


def hold(gate: str, name: str) -> str:
    """Wait at the gate, whoever asks to stop."""
    wait_at(gate, name)
    return name


async def hold_async(gate: str, name: str) -> str:
    """Wait at the gate, whoever asks to stop: it swallows the cancellation."""
    inside = asyncio.ensure_future(wait_at_async(gate, name))
    while not inside.done():
        try:
            await asyncio.shield(inside)
        except asyncio.CancelledError:
            continue
    return name


def obey(gate: str, name: str) -> str:
    """Pass the gate and stop as soon as it is asked to."""
    wait_at(gate, name)
    while True:
        current_job().raise_if_canceled()
        time.sleep(POLL_SECONDS)


async def obey_async(gate: str, name: str) -> str:
    """Stop where it waits, as soon as it is asked to."""
    await wait_at_async(gate, name)
    await asyncio.get_running_loop().create_future()
    return name


def fail(kind: str) -> None:
    """Raise what `kind` names."""
    raise _error(kind)


async def fail_async(kind: str) -> None:
    raise _error(kind)


def _error(kind: str) -> BaseException:
    if kind == "RetryLater":
        return RetryLater(7.5)
    if kind == "SystemExit":
        return SystemExit(3)
    if kind == "KeyboardInterrupt":
        return KeyboardInterrupt()
    if kind == "GeneratorExit":
        return GeneratorExit()
    return ValueError("the model did not like it")


def count_calls_in_context() -> int:
    """Return how many calls ran in this context before."""
    seen = calls_before.get()
    calls_before.set(seen + 1)
    return seen


async def count_calls_in_context_async() -> int:
    return count_calls_in_context()


def narrate(steps: int) -> int:
    """Report progress and emit a value at each step."""
    for step in range(steps):
        current_job().progress(step / steps)
        current_job().emit(step)
    return steps


async def narrate_async(steps: int) -> int:
    return narrate(steps)


class Squares:
    """A batch model: the squares of the numbers, and a ValueError for a negative one."""

    def predict_batch(self, items: list[Item]) -> list[int | Exception]:
        assert len(current_batch()) == len(items)
        return [_square(item.number) for item in items]


class SquaresAsync:
    async def predict_batch(self, items: list[Item]) -> list[int | Exception]:
        return Squares().predict_batch(items)


def _square(number: int) -> int | Exception:
    return number * number if number >= 0 else ValueError(f"{number} is negative")


class Prepared:
    """Answers how often its `setup` ran where it runs."""

    def __init__(self) -> None:
        self.setups: int = 0

    def setup(self, context: SetupContext) -> None:
        self.setups += 1

    def predict(self) -> int:
        return self.setups


class PreparedAsync:
    def __init__(self) -> None:
        self.setups: int = 0

    def setup(self, context: SetupContext) -> None:
        self.setups += 1

    async def predict(self) -> int:
        return self.setups


class Watched:
    """Its setup and its teardown go through the gate that its model's name ends with."""

    def setup(self, context: SetupContext) -> None:
        self._gate = context.model.rpartition("-")[2]
        wait_at(self._gate, "setup")

    def teardown(self) -> None:
        wait_at(self._gate, "teardown")

    def predict(self) -> int:
        return 0


class WatchedAsync:
    def setup(self, context: SetupContext) -> None:
        self._gate = context.model.rpartition("-")[2]
        wait_at(self._gate, "setup")

    def teardown(self) -> None:
        wait_at(self._gate, "teardown")

    async def predict(self) -> int:
        return 0


class Unprepared:
    """A model whose weights are missing; its setup goes through the gate too."""

    def setup(self, context: SetupContext) -> None:
        wait_at(context.model.rpartition("-")[2], "setup")
        raise FileNotFoundError("weights.bin")

    def predict(self) -> int:
        return 0


class UnpreparedAsync:
    def setup(self, context: SetupContext) -> None:
        wait_at(context.model.rpartition("-")[2], "setup")
        raise FileNotFoundError("weights.bin")

    async def predict(self) -> int:
        return 0


class UnpreparedBatch:
    def setup(self, context: SetupContext) -> None:
        raise FileNotFoundError("weights.bin")

    def predict_batch(self, items: list[Item]) -> list[int]:
        return [item.number for item in items]


class UnpreparedBatchAsync:
    def setup(self, context: SetupContext) -> None:
        raise FileNotFoundError("weights.bin")

    async def predict_batch(self, items: list[Item]) -> list[int]:
        return [item.number for item in items]


class Obedient:
    """A batch model that stops when any of its items should; what is left of a batch of three answers at once."""

    def predict_batch(self, items: list[Item]) -> list[int]:
        current_job().progress(message="together")
        while len(items) == 3:
            for context in current_batch():
                context.raise_if_canceled()
            time.sleep(POLL_SECONDS)
        return [item.number for item in items]


class ObedientAsync:
    async def predict_batch(self, items: list[Item]) -> list[int]:
        current_job().progress(message="together")
        while len(items) == 3:
            for context in current_batch():
                context.raise_if_canceled()
            await asyncio.sleep(POLL_SECONDS)
        return [item.number for item in items]


class Models(Struct, frozen=True):
    """The suite's models of one kind."""

    double: Callable[[int], Any]  # Any, here and below: an int or a coroutine of one, by the kind
    hold: Callable[[str, str], Any]
    obey: Callable[[str, str], Any]
    fail: Callable[[str], Any]
    count_calls_in_context: Callable[[], Any]
    narrate: Callable[[int], Any]
    squares: type
    obedient: type
    prepared: type
    watched: type
    unprepared: type
    unprepared_batch: type


DEF = Models(
    double,
    hold,
    obey,
    fail,
    count_calls_in_context,
    narrate,
    Squares,
    Obedient,
    Prepared,
    Watched,
    Unprepared,
    UnpreparedBatch,
)
ASYNC_DEF = Models(
    double_async,
    hold_async,
    obey_async,
    fail_async,
    count_calls_in_context_async,
    narrate_async,
    SquaresAsync,
    ObedientAsync,
    PreparedAsync,
    WatchedAsync,
    UnpreparedAsync,
    UnpreparedBatchAsync,
)
