import asyncio
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial

import pytest
import pytest_asyncio

from asyncinfer.abc import MSGPACK, Call, CallItem, JobContext, ModelState, Outcome, Progress, RunnerSpec, SetupContext
from asyncinfer.errors import InvalidOption, SetupFailed
from asyncinfer.testing import ExecutorSuite
from asyncinfer_thread import ThreadExecutor

DONE = Outcome("returned")
SETUP = SetupContext(model="bare", executor="thread")
LIMIT = 20
"""Seconds after which a thread that should have moved is stuck."""


class TestThreadExecutor(ExecutorSuite):
    def make_executor(self, slots: int) -> ThreadExecutor:
        return ThreadExecutor(slots)


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
    is_async = False

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function

    def setup(self, context: SetupContext) -> None:
        self._function()

    def run(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        self._function()
        return [DONE] * len(items)

    def teardown(self) -> None: ...

    async def run_async(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
        raise NotImplementedError


class Door:
    """A function that says when it has begun and ends when it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.opened.wait(LIMIT)

    async def until_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, LIMIT)


def call(function: Callable[[], object], items: int = 1) -> Call:
    contexts = [JobContext(Silent(), job_id=f"job_{n}", owner="", model="bare", attempt=1) for n in range(items)]
    return Call(BareRunner(function), [CallItem(b"", MSGPACK, context) for context in contexts])


def nothing() -> None: ...


@pytest.fixture
def door() -> Iterator[Door]:
    door = Door()
    yield door
    door.opened.set()


@pytest_asyncio.fixture
async def executor() -> AsyncIterator[ThreadExecutor]:
    """Return a started executor with one slot."""
    executor = ThreadExecutor(1)
    await executor.start(nothing)
    yield executor
    await executor.close(LIMIT)


async def begin(executor: ThreadExecutor, call: Call) -> asyncio.Task[Sequence[Outcome]]:
    """Run a call in a task of its own, and return once it has been handed over."""
    running = asyncio.create_task(executor.run(call))
    await asyncio.sleep(0)
    return running


async def test_calls_beyond_the_slots_wait_their_turn(executor: ThreadExecutor, door: Door) -> None:
    order: list[int] = []
    running = [await begin(executor, call(door))]
    running += [await begin(executor, call(partial(order.append, n))) for n in range(3)]
    free_meanwhile = executor.free
    door.opened.set()
    await asyncio.gather(*running)

    assert free_meanwhile == -3
    assert order == [0, 1, 2]
    assert executor.free == 1


async def test_a_waiting_call_that_is_canceled_ends_canceled_and_never_runs(
    executor: ThreadExecutor, door: Door
) -> None:
    ran: list[int] = []
    first = await begin(executor, call(door))
    waiting = call(lambda: ran.append(1), items=2)
    second = await begin(executor, waiting)
    executor.cancel(waiting)
    outcomes = await second
    free_meanwhile = executor.free
    door.opened.set()
    await first

    assert outcomes == [Outcome("canceled"), Outcome("canceled")]
    assert (free_meanwhile, executor.free) == (0, 1)
    assert ran == []


async def test_a_waiting_call_that_is_abandoned_never_runs(door: Door) -> None:
    ran: list[int] = []
    freed: list[int] = []
    executor = ThreadExecutor(1)
    await executor.start(lambda: freed.append(executor.free))
    first = await begin(executor, call(door))
    second = await begin(executor, call(lambda: ran.append(1)))
    second.cancel()
    await asyncio.wait([second])
    abandoned_meanwhile = executor.abandoned
    door.opened.set()
    await first
    await executor.close(LIMIT)

    assert freed == [0, 1]
    assert abandoned_meanwhile == 0
    assert ran == []


async def test_canceling_an_abandoned_call_still_reaches_its_code(executor: ThreadExecutor, door: Door) -> None:
    stuck = call(door)
    running = await begin(executor, stuck)
    await door.until_begun()
    running.cancel()
    await asyncio.wait([running])
    executor.cancel(stuck)

    assert stuck.items[0].context.is_canceled
    assert executor.abandoned == 1


async def test_a_call_abandoned_after_it_has_returned_is_not_counted() -> None:
    def cancel_as_it_returns() -> None:
        running.cancel()

    executor = ThreadExecutor(1)
    await executor.start(cancel_as_it_returns)
    running = asyncio.create_task(executor.run(call(nothing)))
    await asyncio.wait([running])
    await executor.close(LIMIT)

    assert running.cancelled()
    assert (executor.free, executor.abandoned) == (1, 0)


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit(1), KeyboardInterrupt(), GeneratorExit(), StopIteration(), asyncio.CancelledError()],
)
async def test_a_thread_survives_whatever_the_runner_raises(executor: ThreadExecutor, error: BaseException) -> None:
    threads: list[threading.Thread] = []

    def fail() -> None:
        threads.append(threading.current_thread())
        raise error

    outcomes = await executor.run(call(fail, items=2))
    await executor.run(call(lambda: threads.append(threading.current_thread())))

    assert [outcome.kind for outcome in outcomes] == ["raised", "raised"]
    assert outcomes[0].error is not None
    assert outcomes[0].error.type == type(error).__name__
    assert threads[0] is threads[1]


async def test_a_thread_is_started_only_when_no_other_is_idle(door: Door) -> None:
    threads_before = threading.active_count()
    executor = ThreadExecutor(3)
    await executor.start(nothing)
    at_start = threading.active_count() - threads_before
    for _ in range(5):
        await executor.run(call(nothing))
    one_by_one = threading.active_count() - threads_before
    running = [await begin(executor, call(door)) for _ in range(7)]
    all_at_once = threading.active_count() - threads_before
    door.opened.set()
    await asyncio.gather(*running)
    await executor.close(LIMIT)

    assert (at_start, one_by_one, all_at_once) == (0, 1, 3)


async def test_what_ends_while_the_loop_is_busy_wakes_it_once(
    executor: ThreadExecutor, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    wake = loop.call_soon_threadsafe
    wakes: list[object] = []

    def count_and_wake(callback: Callable[[], object]) -> None:
        wakes.append(callback)
        wake(callback)

    monkeypatch.setattr(loop, "call_soon_threadsafe", count_and_wake)
    last = threading.Event()
    functions: list[Callable[[], object]] = [door, *50 * [nothing], last.set]
    running = [await begin(executor, call(function)) for function in functions]
    wakes_before = len(wakes)
    door.opened.set()
    assert last.wait(LIMIT)  # the loop is busy here
    await asyncio.gather(*running)

    assert len(wakes) - wakes_before <= 2


async def test_no_answer_is_lost_between_two_wake_ups() -> None:
    executor = ThreadExecutor(4)
    await executor.start(nothing)
    indices = iter(range(20_000))

    async def lane() -> int:
        return sum([len(await executor.run(call(nothing))) for _ in indices])

    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        async with asyncio.timeout(LIMIT):
            answers = await asyncio.gather(*(lane() for _ in range(7)))
    finally:
        sys.setswitchinterval(switch_interval)
        await executor.close(LIMIT)

    assert sum(answers) == 20_000
    assert executor.free == 4


async def test_calls_canceled_at_any_moment_leave_every_slot_free() -> None:
    executor = ThreadExecutor(2)
    await executor.start(nothing)
    for round_number in range(2_000):
        one = call(nothing)
        running = asyncio.create_task(executor.run(one))
        for _ in range(round_number % 4):
            await asyncio.sleep(0)
        if round_number % 2:
            executor.cancel(one)
        else:
            running.cancel()
        await asyncio.wait([running])
    await executor.run(call(nothing))
    await executor.close(LIMIT)

    assert (executor.free, executor.abandoned) == (2, 0)


async def test_an_idle_thread_keeps_nothing_of_its_last_call_alive(executor: ThreadExecutor) -> None:
    class Answer(list[Outcome]): ...

    class Answering(BareRunner):
        def run(self, items: Sequence[CallItem]) -> Sequence[Outcome]:
            answer = Answer([DONE])
            weakref.finalize(answer, forgotten.set)
            return answer

    forgotten = threading.Event()
    await executor.run(Call(Answering(nothing), []))

    assert await asyncio.to_thread(forgotten.wait, LIMIT)


async def test_a_setup_takes_a_slot_until_it_returns(executor: ThreadExecutor, door: Door) -> None:
    preparing = asyncio.create_task(executor.prepare(BareRunner(door), SETUP))
    await door.until_begun()
    preparing.cancel()
    await asyncio.wait([preparing])
    state_meanwhile = (executor.free, executor.abandoned)
    door.opened.set()
    await executor.run(call(nothing))

    assert state_meanwhile == (0, 1)
    assert (executor.free, executor.abandoned) == (1, 0)


async def test_whatever_a_setup_raises_is_setup_failed(executor: ThreadExecutor) -> None:
    with pytest.raises(SetupFailed, match="SystemExit"):
        await executor.prepare(BareRunner(sys.exit), SETUP)


async def test_close_detaches_what_runs_and_what_waits(door: Door) -> None:
    ran: list[int] = []
    threads_before = set(threading.enumerate())
    executor = ThreadExecutor(1)
    await executor.start(nothing)
    running = [await begin(executor, call(door)), await begin(executor, call(lambda: ran.append(1)))]
    (thread,) = set(threading.enumerate()) - threads_before
    await door.until_begun()
    await executor.close(0)
    await asyncio.wait(running)
    state_at_the_end = (executor.free, executor.abandoned)
    door.opened.set()
    thread.join(LIMIT)

    assert [one.cancelled() for one in running] == [True, True]
    assert state_at_the_end == (0, 1)
    assert ran == []


async def test_a_waiting_call_does_not_begin_once_the_executor_closes(executor: ThreadExecutor, door: Door) -> None:
    ran: list[int] = []
    first = await begin(executor, call(door))
    second = await begin(executor, call(lambda: ran.append(1)))
    await door.until_begun()
    closing = asyncio.create_task(executor.close(LIMIT))
    await asyncio.sleep(0)
    door.opened.set()
    await closing

    assert (await first, second.cancelled(), ran) == ([DONE], True, [])


async def test_a_close_that_is_canceled_still_ends_the_threads(door: Door) -> None:
    threads_before = set(threading.enumerate())
    executor = ThreadExecutor(2)
    await executor.start(nothing)
    running = [await begin(executor, call(door)), await begin(executor, call(nothing))]
    await running[1]
    await door.until_begun()
    closing = asyncio.create_task(executor.close(LIMIT))
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    left = {thread for thread in set(threading.enumerate()) - threads_before if thread.name.startswith("asyncinfer")}
    door.opened.set()
    await asyncio.wait(running)

    assert len(left) == 1


def test_a_thread_left_behind_does_not_touch_a_closed_loop(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    crashes: list[object] = []
    monkeypatch.setattr(threading, "excepthook", crashes.append)
    threads_before = set(threading.enumerate())

    async def leave_one_behind() -> None:
        executor = ThreadExecutor(1)
        await executor.start(nothing)
        running = await begin(executor, call(door))
        await door.until_begun()
        await executor.close(0)
        await asyncio.wait([running])

    asyncio.run(leave_one_behind())
    (left,) = set(threading.enumerate()) - threads_before
    door.opened.set()
    left.join(LIMIT)

    assert not left.is_alive()
    assert crashes == []


async def test_a_closed_executor_can_be_started_again(executor: ThreadExecutor) -> None:
    await executor.close(LIMIT)
    await executor.start(nothing)

    assert await executor.run(call(nothing)) == [DONE]


async def test_a_call_before_start_or_after_close_is_refused() -> None:
    executor = ThreadExecutor()
    with pytest.raises(RuntimeError, match="not been started"):
        await executor.run(call(nothing))
    await executor.start(nothing)
    await executor.close(0)
    with pytest.raises(RuntimeError, match="closed"):
        await executor.run(call(nothing))


def test_an_executor_needs_a_slot() -> None:
    with pytest.raises(InvalidOption, match="slots: expected at least 1, got 0"):
        ThreadExecutor(0)
