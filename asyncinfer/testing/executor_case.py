"""What every test of the ExecutorSuite stands on: an executor, a gate, and the calls that it is given."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import msgspec
import pytest

from asyncinfer import Batch, Limits, model
from asyncinfer.abc import MSGPACK, Call, CallItem, Executor, JobContext, Outcome, Progress, Runner, SetupContext
from asyncinfer.testing.executor_models import ASYNC_DEF, DEF, POLL_SECONDS, Models
from asyncinfer.testing.gate import Gate

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

SLOTS = 2
SECONDS = 30.0
"""A test that takes longer hangs."""
LOOPS = ["asyncio", "uvloop"] if importlib.util.find_spec("uvloop") else ["asyncio"]

Kind = Literal["def", "async def"]


class Notes:
    """A reporter that keeps everything, in the order in which it came."""

    def __init__(self) -> None:
        self.fractions: list[float | None] = []
        self.messages: list[str] = []
        self.outputs: list[object] = []
        self.checkpoints: list[object] = []

    def report(self, progress: Progress) -> None:
        self.fractions.append(progress.fraction)
        self.messages.append(progress.message)

    def emit(self, data: bytes) -> None:
        self.outputs.append(msgspec.msgpack.decode(data))

    def save_checkpoint(self, data: bytes) -> None:
        self.checkpoints.append(msgspec.msgpack.decode(data))

    async def drain(self) -> None:
        return


class Stage:
    """A started executor with SLOTS slots, and the runners of the suite's models, each made and prepared once."""

    def __init__(self, executor: Executor, gate: Gate, models: Models) -> None:
        self.executor = executor
        self.gate = gate
        self.models = models
        self.notes: Notes = Notes()
        self.freed_in: list[int] = []
        """The thread of each call of `on_free`."""
        self._freed = asyncio.Event()
        self._runners: dict[object, Runner] = {}

    async def start(self) -> None:
        await self.executor.start(self._on_free)

    def runner(self, target: Any) -> Runner:  # Any: the door through which models come, of whatever signature
        """Return the one runner of a function or class on this executor; its model's name ends with the gate."""
        if target not in self._runners:
            batch: dict[str, Any] = {"batch": Batch()} if hasattr(target, "predict_batch") else {}
            name = f"{target.__name__}-{self.gate.address}"
            made = model(target, name=name, executor=self.executor.name, **batch)
            self._runners[target] = made.runner(Limits())
        return self._runners[target]

    async def prepare(self, target: object) -> None:
        context = SetupContext(model=self.runner(target).model, executor=self.executor.name)
        await self.executor.prepare(self.runner(target), context)

    def call(self, target: object, *inputs: Mapping[str, object], time_limit: float | None = None) -> Call:
        """Return a call with one item for each input."""
        runner = self.runner(target)
        items = [
            CallItem(msgspec.msgpack.encode(one), MSGPACK, self._context(runner.model, n))
            for n, one in enumerate(inputs)
        ]
        return Call(runner, items, time_limit)

    def at_gate(self, name: str) -> dict[str, object]:
        """Return the input of `hold` and `obey`."""
        return {"gate": self.gate.address, "name": name}

    async def outcome(self, target: object, **inputs: object) -> Outcome:
        """Run a call of one item to its end."""
        (outcome,) = await self.executor.run(self.call(target, inputs))
        return outcome

    async def result(self, target: object, **inputs: object) -> object:
        return result_of(await self.outcome(target, **inputs))

    async def begin(self, call: Call, name: str) -> asyncio.Task[Sequence[Outcome]]:
        """Run a call in a task of its own, and return when its code has entered the gate."""
        running = asyncio.create_task(self.executor.run(call))
        await self.gate.entered(name)
        return running

    async def until_told(self, message: str) -> None:
        """Return when a progress message has come."""
        while message not in self.notes.messages:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)  # it comes from any thread

    async def until_free(self, slots: int) -> None:
        """Return when `on_free` has told of at least so many free slots."""
        while self.executor.free < slots:
            self._freed.clear()
            await self._freed.wait()

    def _on_free(self) -> None:
        self.freed_in.append(threading.get_ident())
        self._freed.set()

    def _context(self, name: str, number: int) -> JobContext:
        return JobContext(self.notes, job_id=f"job_{number}", owner="", model=name, attempt=1)


class ExecutorCase:
    """The suite's hooks. An executor's author overrides `make_executor` and what the two flags say."""

    kinds: ClassVar[Sequence[Kind]] = ("def",)
    """Which models it runs."""
    detaches: ClassVar[bool] = True
    """A cancelled await of `run` returns at once, while code that does not obey goes on."""

    def make_executor(self, slots: int) -> Executor:
        """Return an executor, not yet started, with so many slots."""
        raise NotImplementedError(f"{type(self).__name__} must override make_executor(slots)")

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if {"loop", "kind"} <= set(metafunc.fixturenames):
            metafunc.parametrize("loop", LOOPS)
            metafunc.parametrize("kind", self.kinds)

    @asynccontextmanager
    async def stage(self, kind: Kind) -> AsyncGenerator[Stage]:
        async with asyncio.timeout(SECONDS), Gate() as gate:
            executor = self.make_executor(SLOTS)
            stage = Stage(executor, gate, DEF if kind == "def" else ASYNC_DEF)
            await stage.start()
            try:
                yield stage
            finally:
                await executor.close(0)


Case = TypeVar("Case", bound=ExecutorCase)


def on_every_loop(
    test: Callable[[Case, Stage], Coroutine[Any, Any, None]],  # Any: what a coroutine sends and receives
) -> Callable[[Case, str, Kind], None]:
    """Run an asynchronous test on asyncio's loop and on uvloop where it is installed, with each kind of model."""

    def run(self: Case, loop: str, kind: Kind) -> None:
        async def play() -> None:
            async with self.stage(kind) as stage:
                await test(self, stage)

        with asyncio.Runner(loop_factory=_loop_factory(loop)) as runner:
            runner.run(play())

    run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
    return run


def result_of(outcome: Outcome) -> object:
    """Return the decoded result of a call that returned."""
    assert outcome.kind == "returned", outcome
    return msgspec.msgpack.decode(outcome.result)


def _loop_factory(loop: str) -> Callable[[], AbstractEventLoop]:
    if loop == "asyncio":
        return asyncio.new_event_loop
    import uvloop

    return uvloop.new_event_loop
