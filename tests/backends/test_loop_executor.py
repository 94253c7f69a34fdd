import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
import pytest_asyncio

from asyncinfer.abc import MSGPACK, Call, CallItem, JobContext, ModelState, Outcome, Progress, RunnerSpec, SetupContext
from asyncinfer.errors import InvalidOption
from asyncinfer.testing import ExecutorSuite
from asyncinfer_thread import LoopExecutor

DONE = Outcome("returned")
CANCELED = Outcome("canceled")


class TestLoopExecutor(ExecutorSuite):
    kinds = ("async def",)
    detaches = False

    def make_executor(self, slots: int) -> LoopExecutor:
        return LoopExecutor(slots)


class Silent:
    def report(self, progress: Progress) -> None: ...

    def emit(self, data: bytes) -> None: ...

    def save_checkpoint(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


class BareRunner:
    """A runner that is nothing but a function: what an executor does when the real one's promises are broken."""

    model = "bare"
    state: ModelState = "warm"
    spec = RunnerSpec(model="bare", executor="", code=len, target=None)
    is_async = True

    def __init__(self, function: Callable[[], Awaitable[object]]) -> None:
        self._function = function
        self.setup_thread: threading.Thread | None = None

    def setup(self, context: SetupContext) -> None:
        self.setup_thread = threading.current_thread()

    def run(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        raise NotImplementedError

    def teardown(self) -> None: ...

    async def run_async(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        await self._function()
        return [DONE] * len(items)


def call(function: Callable[[], Awaitable[object]]) -> Call:
    context = JobContext(Silent(), job_id="job_1", owner="", model="bare", attempt=1)
    return Call(BareRunner(function), [CallItem(b"", MSGPACK, context)])


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def swallow() -> None:
    """Wait for a cancellation and go on."""
    try:
        await forever()
    except asyncio.CancelledError:
        await asyncio.sleep(0)


def nothing() -> None: ...


@pytest_asyncio.fixture
async def executor() -> AsyncIterator[LoopExecutor]:
    executor = LoopExecutor()
    await executor.start(nothing)
    yield executor
    await executor.close(0)


async def begin(executor: LoopExecutor, call: Call) -> asyncio.Task[Sequence[Outcome]]:
    """Run a call in a task of its own, and return once it waits."""
    running = asyncio.create_task(executor.run(call))
    await asyncio.sleep(0)
    return running


async def test_a_cancellation_from_outside_passes_through(executor: LoopExecutor) -> None:
    running = await begin(executor, call(forever))
    running.cancel()
    await asyncio.wait([running])

    assert running.cancelled()
    assert executor.free == executor.slots


async def test_a_cancellation_from_outside_wins_over_cancel(executor: LoopExecutor) -> None:
    both = call(forever)
    running = await begin(executor, both)
    executor.cancel(both)
    running.cancel()
    await asyncio.wait([running])

    assert running.cancelled()
    assert running.cancelling() == 1


async def test_cancel_may_be_repeated(executor: LoopExecutor) -> None:
    twice = call(forever)
    running = await begin(executor, twice)
    executor.cancel(twice)
    executor.cancel(twice)

    assert await running == [CANCELED]
    assert running.cancelling() == 0


async def test_a_model_that_swallows_a_cancel_leaves_no_trace_on_the_task(executor: LoopExecutor) -> None:
    swallowing = call(swallow)
    running = await begin(executor, swallowing)
    executor.cancel(swallowing)

    assert await running == [DONE]
    assert running.cancelling() == 0


async def test_a_model_that_cancels_its_own_call_and_returns_does_not_hit_the_task(executor: LoopExecutor) -> None:
    async def cancel_myself() -> None:
        executor.cancel(own)

    own = call(cancel_myself)

    async def run_and_go_on() -> Sequence[Outcome]:
        outcomes = await executor.run(own)
        await asyncio.sleep(0)
        return outcomes

    assert await asyncio.create_task(run_and_go_on()) == [DONE]


async def test_a_task_that_is_being_canceled_may_still_run_a_call(executor: LoopExecutor) -> None:
    last_words = call(forever)

    async def run_at_the_end() -> Sequence[Outcome]:
        try:
            await forever()
        except asyncio.CancelledError:
            return await executor.run(last_words)
        return []

    running = asyncio.create_task(run_at_the_end())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.sleep(0)
    executor.cancel(last_words)

    assert await running == [CANCELED]


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(1), GeneratorExit(), asyncio.CancelledError()])
async def test_whatever_the_runner_raises_of_itself_is_an_outcome(executor: LoopExecutor, error: BaseException) -> None:
    async def fail() -> None:
        raise error

    (outcome,) = await executor.run(call(fail))

    assert outcome.kind == "raised"
    assert outcome.error is not None
    assert outcome.error.type == type(error).__name__
    assert executor.free == executor.slots


async def test_a_setup_runs_beside_the_loop(executor: LoopExecutor) -> None:
    runner = BareRunner(forever)
    await executor.prepare(runner, SetupContext(model="bare", executor="loop"))

    assert runner.setup_thread not in (None, threading.current_thread())
    assert executor.free == executor.slots


async def test_close_cancels_what_goes_on_after_the_grace(executor: LoopExecutor) -> None:
    running = await begin(executor, call(forever))
    await executor.close(0)
    await asyncio.wait([running])

    assert running.cancelled()


async def test_a_call_before_start_or_after_close_is_refused() -> None:
    executor = LoopExecutor()
    with pytest.raises(RuntimeError, match="not running"):
        await executor.run(call(forever))
    await executor.start(nothing)
    await executor.close(0)
    with pytest.raises(RuntimeError, match="not running"):
        await executor.run(call(forever))


def test_an_executor_needs_a_slot() -> None:
    with pytest.raises(InvalidOption, match="slots: expected at least 1, got 0"):
        LoopExecutor(0)
