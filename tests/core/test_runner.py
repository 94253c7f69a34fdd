import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import msgspec
import pytest

from asyncinfer import (
    Batch,
    JobContext,
    Limits,
    Progress,
    RetryLater,
    RetryPolicy,
    SetupContext,
    current_batch,
    current_job,
    model,
)
from asyncinfer.abc import CallItem, Outcome, Runner
from asyncinfer.errors import CancelRequested, SetupFailed

trace: ContextVar[str] = ContextVar("trace", default="untouched")


class Recorder:
    """A Reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.output: list[Any] = []
        self.messages: list[str] = []
        self.drains = 0

    def report(self, progress: Progress) -> None:
        self.messages.append(progress.message)

    def emit(self, data: bytes) -> None:
        self.output.append(msgspec.msgpack.decode(data))

    def save_checkpoint(self, data: bytes) -> None: ...

    async def drain(self) -> None:
        self.drains += 1


def item_of(data: bytes, recorder: Recorder | None = None, *, attempt: int = 1, content_type: str = "") -> CallItem:
    context = JobContext(recorder or Recorder(), job_id="j", owner="", model="m", attempt=attempt)
    return CallItem(data, content_type or "application/msgpack", context)


def runner_of(code: Any, *, limits: Limits | None = None, **options: Any) -> Runner:
    return model(code, **options).runner(limits or Limits())


def run(
    code: Any, *args: Any, recorder: Recorder | None = None, limits: Limits | None = None, **options: Any
) -> Outcome:
    made: Any = model(code, **options)
    runner: Runner = made.runner(limits or Limits())
    (outcome,) = runner.run([item_of(made.bind(*args).input, recorder)])
    return outcome


async def run_async(code: Any, *args: Any, recorder: Recorder | None = None, **options: Any) -> Outcome:
    made: Any = model(code, **options)
    return await _first(made.runner(Limits()), item_of(made.bind(*args).input, recorder))


def run_batch(code: Any, *values: Any, **options: Any) -> list[Outcome]:
    made: Any = model(code, **options)
    return list(made.runner(Limits()).run([item_of(made.bind(value).input) for value in values]))


def value_of(outcome: Outcome) -> Any:
    assert outcome.kind == "returned", outcome
    return msgspec.msgpack.decode(outcome.result)


def error_of(outcome: Outcome) -> tuple[str, str]:
    assert outcome.kind == "raised", outcome
    assert outcome.error is not None
    return outcome.error.code, outcome.error.message


class Pair(msgspec.Struct):
    left: int
    right: bytes


def swap(pair: Pair) -> Pair:
    return Pair(left=len(pair.right), right=bytes(pair.left))


def add(a: int, b: int = 1, *, times: int = 1) -> int:
    return (a + b) * times


def lies(text: str) -> int:
    wrong: Any = text
    return int(text) if text.isdigit() else wrong


async def add_soon(a: int, b: int) -> int:
    await asyncio.sleep(0)
    return a + b


def raises(kind: str) -> None:
    exceptions: dict[str, BaseException] = {
        "value": ValueError("no such thing"),
        "key": KeyError("k"),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
        "memory": MemoryError("24 GiB"),
        "surrogate": ValueError("\ud800"),
        "long": ValueError("x" * 100_000),
        "cancelled": asyncio.CancelledError(),
    }
    raise exceptions[kind]


async def raises_soon(kind: str) -> None:
    raises(kind)


def test_a_function_gets_its_input_and_gives_its_result() -> None:
    assert value_of(run(swap, Pair(left=2, right=b"abc"))) == {"left": 3, "right": b"\0\0"}


async def test_an_async_function_is_awaited() -> None:
    assert value_of(await run_async(add_soon, 1, 2)) == 3


def test_stored_json_is_checked_and_run() -> None:
    (outcome,) = runner_of(add).run([item_of(b'{"a": 2, "times": 5}', content_type="application/json")])
    assert value_of(outcome) == 15


@pytest.mark.parametrize(
    ("data", "content_type", "code", "message"),
    [
        (b'{"a": "x"}', "application/json", "invalid_input", "input.a: expected int, got str"),
        (b"{", "application/json", "invalid_input", "input: input data was truncated"),
        (msgspec.msgpack.encode({"a": 1, "c": 2}), "", "invalid_input", "input.c: unknown name"),
        (b"\x81\xa1a", "", "undecodable", "input: input data was truncated"),
    ],
)
def test_an_input_that_does_not_decode_never_reaches_the_code(
    data: bytes, content_type: str, code: str, message: str
) -> None:
    (outcome,) = runner_of(add).run([item_of(data, content_type=content_type)])
    assert error_of(outcome) == (code, message)


async def test_an_input_that_does_not_decode_never_reaches_async_code() -> None:
    (outcome,) = await runner_of(add_soon).run_async([item_of(b"\xc1")])
    assert error_of(outcome)[0] == "undecodable"


def test_an_exception_is_a_record_of_its_type_text_and_lines() -> None:
    error = run(raises, "value").error
    assert error is not None
    assert (error.code, error.type, error.message) == ("model_error", "ValueError", "no such thing")
    assert error.traceback.startswith("Traceback (most recent call last):\n")
    assert "raise exceptions[kind]" in error.traceback
    assert "_run_one" not in error.traceback


@pytest.mark.parametrize("kind", ["exit", "interrupt", "key", "cancelled"])
def test_whatever_a_thread_raises_is_an_outcome(kind: str) -> None:
    assert error_of(run(raises, kind))[0] == "model_error"


@pytest.mark.parametrize("kind", ["exit", "interrupt", "key", "cancelled"])
async def test_whatever_async_code_raises_is_an_outcome(kind: str) -> None:
    assert error_of(await run_async(raises_soon, kind))[0] == "model_error"


def test_out_of_memory_has_a_code_of_its_own() -> None:
    assert error_of(run(raises, "memory")) == ("out_of_memory", "24 GiB")


def test_a_text_that_no_store_could_encode_is_escaped() -> None:
    assert error_of(run(raises, "surrogate"))[1] == "\\ud800"


def test_texts_are_bounded() -> None:
    error = run(raises, "long").error
    assert error is not None
    assert (len(error.message), len(error.traceback)) == (2048, 8192)


@pytest.mark.parametrize(("kind", "retryable"), [("key", True), ("value", False), ("exit", False)])
def test_only_what_retry_on_names_is_retryable(kind: str, retryable: bool) -> None:
    error = run(raises, kind, retry=RetryPolicy(max_attempts=3, retry_on=(KeyError,))).error
    assert error is not None
    assert error.retryable is retryable


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def raises_unprintable() -> None:
    raise Unprintable


def test_an_exception_that_cannot_be_printed_is_still_an_outcome() -> None:
    assert error_of(run(raises_unprintable)) == ("model_error", "the exception's own text cannot be made")


def asks_later(delay: float | None) -> None:
    raise RetryLater(delay)


@pytest.mark.parametrize(("asked", "delay"), [(2.5, 2.5), (None, None), (-1, None), (float("inf"), None)])
def test_retry_later_carries_its_delay(asked: float | None, delay: float | None) -> None:
    outcome = run(asks_later, asked)
    assert (outcome.kind, outcome.delay) == ("retry_later", delay)
    assert outcome.error is not None


def stops() -> None:
    current_job().request_cancel()
    current_job().raise_if_canceled()


async def stops_soon() -> None:
    current_job().request_cancel()
    raise asyncio.CancelledError


def test_a_model_that_obeys_ends_canceled() -> None:
    assert run(stops).kind == "canceled"


async def test_an_async_model_that_is_cancelled_on_a_wish_ends_canceled() -> None:
    assert (await run_async(stops_soon)).kind == "canceled"


async def waits() -> None:
    await asyncio.Event().wait()


async def test_a_cancelled_task_goes_through_when_nobody_wished_it() -> None:
    task = asyncio.create_task(run_async(waits))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_cancelled_on_a_wish_ends_canceled() -> None:
    made = model(waits)
    item = item_of(made.bind().input)
    task = asyncio.create_task(_first(made.runner(Limits()), item))
    await asyncio.sleep(0)
    item.context.request_cancel()
    task.cancel()
    assert (await task).kind == "canceled"


async def _first(runner: Runner, item: CallItem) -> Outcome:
    (outcome,) = await runner.run_async([item])
    return outcome


def test_a_wrong_result_names_its_path() -> None:
    assert error_of(run(lies, "abc")) == ("result_unserializable", "result: expected int, got str")


def opaque() -> Any:
    return {"parts": [1, object()]}


def large(size: int) -> bytes:
    return bytes(size)


async def large_soon(size: int) -> bytes:
    return bytes(size)


def test_a_result_that_cannot_be_encoded_names_its_path() -> None:
    message = "result.parts[1]: a value of type object cannot be encoded"
    assert error_of(run(opaque)) == ("result_unserializable", message)


def test_a_result_over_the_limit_is_refused() -> None:
    message = "the result has 1003 bytes, the limit is 1000"
    assert error_of(run(large, 1_000, limits=Limits(result_bytes=1_000))) == ("result_too_large", message)


async def test_a_large_async_result_is_encoded_whole() -> None:
    assert value_of(await run_async(large_soon, 1 << 20)) == bytes(1 << 20)


def count(limit: int) -> Iterator[int]:
    yield from range(limit)


async def count_soon(limit: int) -> AsyncIterator[int]:
    for number in range(limit):
        yield number


def breaks_off() -> Iterator[int]:
    yield 1
    raise ValueError("half-way")


def yields_wrongly() -> Iterator[int]:
    wrong: Any = "a"
    yield 1
    yield wrong


def test_a_generators_yields_are_emitted_and_are_the_result() -> None:
    recorder = Recorder()
    assert value_of(run(count, 3, recorder=recorder)) == [0, 1, 2]
    assert recorder.output == [0, 1, 2]


async def test_an_async_generators_yields_are_emitted_and_are_the_result() -> None:
    recorder = Recorder()
    assert value_of(await run_async(count_soon, 100, recorder=recorder)) == list(range(100))
    assert (recorder.output, recorder.drains) == (list(range(100)), 3)


def test_a_stream_that_breaks_off_has_emitted_what_came_before() -> None:
    recorder = Recorder()
    assert error_of(run(breaks_off, recorder=recorder)) == ("model_error", "half-way")
    assert recorder.output == [1]


def test_a_wrong_yield_ends_the_stream() -> None:
    recorder = Recorder()
    assert error_of(run(yields_wrongly, recorder=recorder)) == (
        "result_unserializable",
        "result: expected int, got str",
    )
    assert recorder.output == [1]


closed: list[str] = []


def endless() -> Iterator[bytes]:
    try:
        while True:
            yield bytes(100)
    finally:
        closed.append("def")


async def endless_soon() -> AsyncIterator[bytes]:
    try:
        while True:
            current_job().request_cancel()
            yield bytes(100)
    finally:
        closed.append("async def")


def test_a_stream_over_the_limit_is_closed() -> None:
    closed.clear()
    assert error_of(run(endless, limits=Limits(result_bytes=1_000)))[0] == "result_too_large"
    assert closed == ["def"]


async def test_a_stream_stops_between_two_yields_when_it_should() -> None:
    closed.clear()
    assert (await run_async(endless_soon)).kind == "canceled"
    assert closed == ["async def"]


def touches() -> str:
    before = trace.get()
    trace.set("touched")
    return f"{before} {current_job().job_id}"


def touching_stream() -> Iterator[str]:
    trace.set("touched")
    yield current_job().job_id
    yield trace.get()


def test_each_job_runs_in_a_context_of_its_own() -> None:
    items = [item_of(model(touches).bind().input) for _ in range(2)]
    outcomes = runner_of(touches).run(items)
    assert [value_of(outcome) for outcome in outcomes] == ["untouched j", "untouched j"]
    assert trace.get() == "untouched"


def test_a_generator_is_stepped_inside_its_jobs_context() -> None:
    assert value_of(run(touching_stream)) == ["j", "touched"]


def test_no_job_is_current_after_a_run() -> None:
    run(touches)
    with pytest.raises(LookupError, match=r"copy_context\(\)\.run"):
        current_job()


class Weights:
    setups = 0

    def setup(self, ctx: SetupContext) -> None:
        type(self).setups += 1
        self.context = ctx

    def predict(self, text: str) -> str:
        return f"{text} on {self.context.executor}"


def test_setup_runs_once_for_all_threads_of_a_runner() -> None:
    Weights.setups = 0
    runner = runner_of(Weights)
    barrier = threading.Barrier(8)

    def setup() -> None:
        barrier.wait()
        runner.setup(SetupContext(model="Weights", executor="gpu"))

    threads = [threading.Thread(target=setup) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (outcome,) = runner.run([item_of(model(Weights).bind("a").input)])
    assert value_of(outcome) == "a on gpu"
    assert Weights.setups == 1


def test_each_runner_has_an_instance_of_its_own() -> None:
    Weights.setups = 0
    one = model(Weights)
    for _ in range(2):
        one.runner(Limits()).setup(SetupContext(model="Weights", executor="thread"))
    assert Weights.setups == 2


class NoWeights:
    def setup(self, ctx: SetupContext) -> None:
        raise FileNotFoundError("weights.bin")

    def predict(self, text: str) -> str:
        return text


def test_a_setup_that_fails_says_so_and_the_cause() -> None:
    with pytest.raises(SetupFailed, match=r"model NoWeights: setup raised FileNotFoundError: weights\.bin") as caught:
        runner_of(NoWeights).setup(SetupContext(model="NoWeights", executor="thread"))
    assert isinstance(caught.value.__cause__, FileNotFoundError)


class NoWeightsSoon:
    def setup(self, ctx: SetupContext) -> None:
        raise FileNotFoundError("weights.bin")

    async def predict(self, text: str) -> str:
        return text


class NoWeightsForBatches:
    def setup(self, ctx: SetupContext) -> None:
        sys.exit("weights.bin")

    def predict_batch(self, items: list[str]) -> list[str]:
        return items


async def test_a_job_whose_model_cannot_be_set_up_is_not_run() -> None:
    answers = [run(NoWeights, "a"), await run_async(NoWeightsSoon, "a"), *run_batch(NoWeightsForBatches, "a", "b")]
    assert [answer.kind for answer in answers] == ["not_run"] * 4
    assert all("weights.bin" in answer.error.message for answer in answers if answer.error is not None)


def test_an_input_that_does_not_decode_is_told_before_the_setup() -> None:
    (outcome,) = runner_of(NoWeights).run([item_of(b"{", content_type="application/json")])
    assert error_of(outcome)[0] == "invalid_input"


def test_a_job_that_sets_its_model_up_shows_it() -> None:
    recorder = Recorder()
    runner = runner_of(Weights)
    data = model(Weights).bind("a").input
    runner.run([item_of(data, recorder)])
    runner.run([item_of(data, recorder)])
    assert recorder.messages == ["loading model", ""]


async def test_a_setup_does_not_hold_the_loop() -> None:
    class Blocking:
        def setup(self, ctx: SetupContext) -> None:
            assert passed.wait(10)

        async def predict(self, text: str) -> str:
            return text

    passed = threading.Event()
    running = asyncio.ensure_future(run_async(Blocking, "a"))
    await asyncio.sleep(0)
    passed.set()
    assert value_of(await running) == "a"


def test_a_job_that_is_canceled_while_its_model_loads_does_not_begin() -> None:
    class Late:
        def setup(self, ctx: SetupContext) -> None:
            item.context.request_cancel()

        def predict(self, text: str) -> str:
            raise AssertionError("it must not begin")

    made: Any = model(Late)
    item = item_of(made.bind("a").input)
    (outcome,) = made.runner(Limits()).run([item])
    assert outcome.kind == "canceled"


class Staged:
    """Tells what is done with it."""

    told: list[str] = []  # noqa: RUF012  shared on purpose

    def setup(self, ctx: SetupContext) -> None:
        self.told.append(f"setup of {ctx.model}")

    def warmup(self, ctx: SetupContext) -> None:
        self.told.append(f"warmup on {ctx.device}")

    def teardown(self) -> None:
        self.told.append("teardown")
        raise SystemExit("told, and ignored")

    def predict(self) -> int:
        self.told.append("predict")
        return 1


def test_a_model_is_set_up_warmed_up_torn_down_and_set_up_anew_as_before() -> None:
    Staged.told.clear()
    runner = runner_of(Staged)
    data = model(Staged).bind().input
    states = [runner.state]
    runner.setup(SetupContext(model="staged", executor="cuda", device="cuda:1"))
    states.append(runner.state)
    runner.teardown()
    runner.teardown()
    states.append(runner.state)
    runner.run([item_of(data)])

    loaded = ["setup of staged", "warmup on cuda:1"]
    assert Staged.told == [*loaded, "teardown", *loaded, "predict"]
    assert states == ["unloaded", "warm", "unloaded"]


def test_a_warmup_that_fails_is_a_setup_that_fails() -> None:
    class Cold:
        def warmup(self, ctx: SetupContext) -> None:
            raise MemoryError("24 GiB")

        def predict(self) -> int:
            return 1

    runner = runner_of(Cold)
    (outcome,) = runner.run([item_of(model(Cold).bind().input)])
    assert (outcome.kind, runner.state) == ("not_run", "failed")
    assert outcome.error is not None
    assert outcome.error.message == "model Cold: warmup raised MemoryError: 24 GiB"


def test_a_function_is_always_warm() -> None:
    runner = runner_of(add)
    runner.teardown()
    assert runner.state == "warm"


calls: list[list[int]] = []


class Halves:
    """Refuses any batch that holds a 13, and answers 7 with an exception of its own."""

    def predict_batch(self, items: list[int]) -> list[float | Exception]:
        calls.append(items)
        assert len(current_batch()) == len(items)
        if 13 in items:
            raise ValueError("unlucky")
        return [KeyError("seven") if item == 7 else item / 2 for item in items]


class Short:
    def predict_batch(self, items: list[int]) -> list[int]:
        return items[:-1]


class Exits:
    def predict_batch(self, items: list[int]) -> list[int]:
        if 13 in items:
            raise SystemExit(3)
        return items


def test_an_exit_in_a_batch_ends_only_the_item_that_asked_for_it() -> None:
    outcomes = run_batch(Exits, 1, 13, 2)
    assert [outcome.kind for outcome in outcomes] == ["returned", "raised", "returned"]


class HalvesSoon:
    async def predict_batch(self, items: list[int]) -> list[float]:
        await asyncio.sleep(0)
        if 13 in items:
            raise ValueError("unlucky")
        return [item / 2 for item in items]


class StopsOne:
    def predict_batch(self, items: list[int]) -> list[int]:
        calls.append(items)
        if 13 in items:
            current_batch()[items.index(13)].request_cancel()
        for context in current_batch():
            context.raise_if_canceled()
        return items


def test_a_batch_gives_one_outcome_an_item_in_order() -> None:
    outcomes = run_batch(Halves, 2, 7, 4)
    assert (value_of(outcomes[0]), value_of(outcomes[2])) == (1.0, 2.0)
    assert error_of(outcomes[1]) == ("model_error", "'seven'")


def test_a_batch_that_raises_is_run_in_halves_until_the_bad_item_is_alone() -> None:
    calls.clear()
    outcomes = run_batch(Halves, 2, 4, 13, 8)
    assert [outcome.kind for outcome in outcomes] == ["returned", "returned", "raised", "returned"]
    assert calls == [[2, 4, 13, 8], [2, 4], [13, 8], [13], [8]]


def test_a_batch_that_may_not_be_repeated_fails_whole() -> None:
    outcomes = run_batch(Halves, 2, 13, batch=Batch(on_error="fail"))
    assert [error_of(outcome) for outcome in outcomes] == [("model_error", "unlucky")] * 2


async def test_an_async_batch_is_run_in_halves_too() -> None:
    made = model(HalvesSoon)
    items = [item_of(made.bind(value).input) for value in (2, 13, 4)]
    outcomes = await made.runner(Limits()).run_async(items)
    assert [outcome.kind for outcome in outcomes] == ["returned", "raised", "returned"]


def test_a_batch_of_the_wrong_length_is_an_error_for_all() -> None:
    message = "predict_batch returned 2 results for 3 items; it must return a list, one result an item"
    assert [error_of(outcome) for outcome in run_batch(Short, 1, 2, 3)] == [("model_error", message)] * 3


def test_an_item_that_does_not_decode_leaves_the_batch() -> None:
    calls.clear()
    good = item_of(model(Halves).bind(2).input)
    outcomes = runner_of(Halves).run([item_of(b"\xc1"), good])
    assert error_of(outcomes[0])[0] == "undecodable"
    assert value_of(outcomes[1]) == 1.0
    assert calls == [[2]]


def test_a_batch_of_nothing_that_decodes_calls_nobody() -> None:
    calls.clear()
    assert [error_of(outcome)[0] for outcome in runner_of(Halves).run([item_of(b"\xc1")])] == ["undecodable"]
    assert calls == []


def test_a_canceled_item_leaves_the_batch_and_the_others_run_again() -> None:
    calls.clear()
    outcomes = run_batch(StopsOne, 1, 13, 2)
    assert [outcome.kind for outcome in outcomes] == ["returned", "canceled", "returned"]
    assert calls == [[1, 13, 2], [1, 2]]


def test_a_batch_that_may_not_be_repeated_fails_for_the_others_of_a_canceled_item() -> None:
    calls.clear()
    outcomes = run_batch(StopsOne, 1, 13, 2, batch=Batch(on_error="fail"))
    assert [outcome.kind for outcome in outcomes] == ["raised", "canceled", "raised"]
    assert calls == [[1, 13, 2]]


def test_a_canceled_item_is_not_run_again_in_the_halves() -> None:
    class CancelsThenRaises:
        def predict_batch(self, items: list[int]) -> list[int]:
            calls.append(items)
            if 13 in items:
                current_batch()[items.index(13)].request_cancel()
                raise ValueError("unlucky")
            return items

    calls.clear()
    outcomes = run_batch(CancelsThenRaises, 1, 13, 2)
    assert [outcome.kind for outcome in outcomes] == ["returned", "canceled", "returned"]
    assert calls == [[1, 13, 2], [1, 2]]


def test_an_item_may_answer_that_it_was_canceled() -> None:
    class Obeys:
        def predict_batch(self, items: list[int]) -> list[Any]:
            return [CancelRequested() if item == 13 else item for item in items]

    outcomes = run_batch(Obeys, 1, 13)
    assert [outcome.kind for outcome in outcomes] == ["returned", "canceled"]


@pytest.mark.parametrize("code", [add, Weights])
def test_a_runner_tells_where_its_code_can_be_imported(code: Callable[..., Any]) -> None:
    module, _, qualname = (runner_of(code).spec.target or "").partition(":")
    assert getattr(sys.modules[module], qualname) is code
