import functools
import inspect
import re
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec
import pytest

from asyncinfer import Batch, Limits, RetryPolicy, SetupContext, Submission, model
from asyncinfer._models import Model, published_model
from asyncinfer.errors import InvalidInput, InvalidModel, InvalidOption, SetupFailed, UnknownModel

if TYPE_CHECKING:
    from decimal import Context as OnlyForCheckers

T = TypeVar("T")


class Point(msgspec.Struct):
    x: int


class Other(msgspec.Struct):
    y: int


class Opaque:
    pass


class Holder(msgspec.Struct, Generic[T]):
    value: T


@model
async def echo(text: str) -> str:
    return text


@model(queue="slow", retry=RetryPolicy(max_attempts=3), time_limit=1.5, queue_timeout=2, concurrency=4, crash_budget=2)
def scale(number: float, *, by: float = 2.0) -> float:
    """Multiply."""
    return number * by


@model
def count(limit: int) -> Iterator[int]:
    yield from range(limit)


@model
async def count_slowly(limit: int) -> AsyncIterator[int]:
    for number in range(limit):
        yield number


class Embed:
    instances = 0

    def __init__(self) -> None:
        type(self).instances += 1

    def setup(self, ctx: SetupContext) -> None:
        self.offset = len(ctx.model)

    def predict(self, text: str) -> int:
        return len(text) + self.offset


class Doubles:
    def predict_batch(self, items: list[int]) -> list[int | Exception]:
        return [ValueError("seven") if item == 7 else 2 * item for item in items]


class DoublesSoon:
    async def predict_batch(self, items: list[Point]) -> list[int]:
        return [2 * item.x for item in items]


class Both:
    def predict(self, item: int) -> int:
        return item

    def predict_batch(self, items: list[int]) -> list[int]:
        return items


def refusal(code: Any, **options: Any) -> str:
    made: Model[..., Any, Any] = model(code, **options)
    with pytest.raises(InvalidModel) as caught:
        made.register()
    return str(caught.value)


def test_a_model_stays_the_function_it_was() -> None:
    assert scale(3.0, by=3.0) == 9.0
    assert list(count(3)) == [0, 1, 2]
    assert (scale.__doc__, str(inspect.signature(scale))) == (
        "Multiply.",
        "(number: float, *, by: float = 2.0) -> float",
    )


async def test_an_async_model_is_awaited_as_it_was() -> None:
    assert await echo("a") == "a"
    assert [number async for number in count_slowly(2)] == [0, 1]


def test_the_options_show_in_the_attributes() -> None:
    assert (scale.name, scale.queue, scale.retry.max_attempts, scale.time_limit) == ("scale", "slow", 3, 1.5)
    assert (scale.queue_timeout, scale.concurrency, scale.crash_budget, scale.batch) == (2, 4, 2, None)


@pytest.mark.parametrize(
    ("one", "executor", "is_async", "is_stream"),
    [(echo, "loop", True, False), (scale, "thread", False, False), (count, "thread", False, True)],
)
def test_async_code_runs_on_the_loop_and_other_code_in_a_thread(
    one: Model[..., Any, Any], executor: str, is_async: bool, is_stream: bool
) -> None:
    assert (one.executor, one.is_async, one.is_stream) == (executor, is_async, is_stream)


def test_an_async_generator_is_an_async_stream() -> None:
    assert (count_slowly.executor, count_slowly.is_async, count_slowly.is_stream) == ("loop", True, True)


def test_a_def_that_returns_a_coroutine_or_an_iterator_is_what_its_annotation_says() -> None:
    def later(text: str) -> Coroutine[Any, Any, str]:
        return echo(text)

    def several(limit: int) -> Iterator[int]:
        return iter(range(limit))

    def several_later(limit: int) -> AsyncIterator[int]:
        return count_slowly(limit)

    assert (model(later).is_async, model(later).is_stream) == (True, False)
    assert (model(several).is_async, model(several).is_stream) == (False, True)
    assert (model(several_later).is_async, model(several_later).is_stream) == (True, True)


def test_bind_gives_a_submission() -> None:
    submission = echo.bind("a")
    assert submission == Submission(echo, {}, msgspec.msgpack.encode({"text": "a"}))


def test_bind_refuses_a_wrong_input() -> None:
    wrong: Any = 1
    with pytest.raises(InvalidInput, match=r"^input\.text: expected str, got int$"):
        echo.bind(wrong)


def test_options_make_another_model_and_leave_the_first_alone() -> None:
    urgent = echo.options(priority=1).options(delay=2)
    assert urgent.bind("a").options == {"priority": 1, "delay": 2}
    assert echo.bind("a").options == {}
    assert urgent.definition is echo.definition


def test_a_wrong_option_is_refused_at_once() -> None:
    with pytest.raises(InvalidOption, match="priority: expected an int from 0 to 9, got 10"):
        echo.options(priority=10)


def test_a_wrong_model_option_is_refused_at_once() -> None:
    wrong: Any = {"crash_budget": 0}
    with pytest.raises(InvalidOption, match="crash_budget"):
        model(**wrong)(Embed)


def test_json_binds_to_the_same_submission() -> None:
    assert echo.bind_json(b'{"text": "a"}') == echo.bind("a")


def test_equal_inputs_have_equal_fingerprints() -> None:
    assert scale.bind(1, by=2).fingerprint() == scale.bind_json(b'{"number": 1.0}').fingerprint()
    assert scale.bind(1).fingerprint() != scale.bind(2).fingerprint()


def test_the_same_input_of_another_model_has_another_fingerprint() -> None:
    def other(text: str) -> str:
        raise NotImplementedError

    assert echo.bind("a").fingerprint() != model(other).bind("a").fingerprint()


def test_results_and_outputs_are_decoded_as_their_types() -> None:
    def points() -> Iterator[Point]:
        raise NotImplementedError

    stream = model(points)
    assert stream.decode_result(msgspec.msgpack.encode([{"x": 1}])) == [Point(1)]
    assert stream.decode_output(msgspec.msgpack.encode({"x": 1})) == Point(1)


def test_a_result_of_another_version_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"^result: expected str, got int$"):
        echo.decode_result(msgspec.msgpack.encode(1))


def test_a_class_model_is_set_up_once_for_plain_calls() -> None:
    embed = model(Embed, name="four")
    before = Embed.instances
    threads = [threading.Thread(target=embed, args=("a",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert embed("ab") == 6
    assert Embed.instances == before + 1


def test_a_setup_that_raises_is_named_and_tried_again() -> None:
    class Broken:
        def setup(self, ctx: SetupContext) -> None:
            raise OSError("no weights")

        def predict(self, text: str) -> str:
            raise NotImplementedError

    broken = model(Broken)
    for _ in range(2):
        with pytest.raises(SetupFailed, match="model Broken: setup raised OSError: no weights"):
            broken("a")


def test_a_batch_model_is_called_with_one_item() -> None:
    doubles = model(Doubles)
    assert doubles(2) == 4
    with pytest.raises(ValueError, match="seven"):
        doubles(7)


async def test_an_async_batch_model_is_awaited() -> None:
    assert await model(DoublesSoon)(Point(2)) == 4


def test_predict_beside_predict_batch_is_the_signature() -> None:
    both = model(Both, batch=Batch(max_size=4))
    assert both(3) == 3
    assert msgspec.msgpack.decode(both.bind(3).input) == {"item": 3}


def test_a_batch_key_and_cost_are_found_at_bind() -> None:
    def cost(item: Point) -> int:
        return item.x

    def key(item: Point) -> str:
        return f"k{item.x}"

    sized = model(DoublesSoon, batch=Batch(cost=cost, key=key))
    submission = sized.bind(Point(3))
    assert (submission.batch_key, submission.cost) == ("k3", 3)
    assert sized.bind_json(b'{"x": 3}') == submission


def test_a_batch_function_that_raises_refuses_the_input() -> None:
    def cost(item: int) -> int:
        return 1 // item

    with pytest.raises(InvalidInput, match=r"input: model Doubles: Batch\.cost\(item\): raised ZeroDivisionError"):
        model(Doubles, batch=Batch(cost=cost)).bind(0)


def test_a_batch_result_type_leaves_the_exceptions_out() -> None:
    assert msgspec.json.decode(model(Doubles).result_schema())["type"] == "integer"


_lambda: Any = lambda text: text  # noqa: E731  # pyright: ignore[reportUnknownLambdaType, reportUnknownVariableType]


def _takes_any(*values: int) -> None: ...
def _takes_names(**values: int) -> None: ...
def _unannotated(text: str) -> None: ...
def _generic(value: T) -> T:
    raise NotImplementedError


def _generic_struct(value: Holder[T]) -> T:
    raise NotImplementedError


def _opaque(value: list[Opaque]) -> None: ...
def _opaque_result() -> Opaque:
    raise NotImplementedError


def _ambiguous(value: bytes | str) -> None: ...
def _ambiguous_structs(value: Point | Other) -> None: ...
def _tuple_keys(value: dict[tuple[int, int], str]) -> None: ...
def _none_keys(value: list[dict[None, str]]) -> None: ...
def _bool_keys(value: dict[bool, str]) -> None: ...
def _unresolved(value: "OnlyForCheckers") -> None: ...
async def _no_stream() -> AsyncIterator[int]:
    return count_slowly(1)


del _unannotated.__annotations__["text"]


class _Callable:
    def __call__(self, text: str) -> str:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (_lambda, "write a def"),
        (functools.partial(_bool_keys, {}), "write a def that calls it"),
        (_Callable(), "expected a function or a class with predict"),
        (_takes_any, "name each parameter"),
        (_takes_names, "name each parameter"),
        (_unannotated, "parameter text: it has no annotation; write its type"),
        (_generic, "type variable ~T is not solved; write the concrete type"),
        (_generic_struct, "type variable ~T is not solved"),
        (_opaque, "parameter value: the type Opaque has no codec; write a Struct"),
        (_opaque_result, "result: the type Opaque has no codec"),
        (_ambiguous, "parameter value: .*write types that JSON tells apart"),
        (_ambiguous_structs, "tagged Structs"),
        (_tuple_keys, "a dict with tuple keys cannot be JSON"),
        (_none_keys, "a dict with none keys cannot be JSON"),
        (_bool_keys, "a dict with bool keys cannot be JSON"),
        (_unresolved, "name 'OnlyForCheckers' is not defined; import the name at run time"),
        (_no_stream, "is no stream; yield in it, or make it a def"),
    ],
)
def test_what_cannot_be_a_model_is_refused_with_the_remedy(code: Any, remedy: str) -> None:
    message = refusal(code)
    assert re.search(remedy, message), message


class _NoPredict: ...


class _NeedsArguments:
    def __init__(self, path: str) -> None: ...
    def predict(self, text: str) -> str:
        raise NotImplementedError


class _AsyncSetup:
    async def setup(self, ctx: SetupContext) -> None: ...
    def predict(self, text: str) -> str:
        raise NotImplementedError


class _SetupWithoutContext:
    def setup(self) -> None: ...
    def predict(self, text: str) -> str:
        raise NotImplementedError


class _AsyncTeardown:
    async def teardown(self) -> None: ...
    def predict(self, text: str) -> str:
        raise NotImplementedError


class _WarmupWithoutContext:
    def warmup(self) -> None: ...
    def predict(self, text: str) -> str:
        raise NotImplementedError


class _NoList:
    def predict_batch(self, items: tuple[int, ...]) -> list[int]:
        raise NotImplementedError


class _BatchStream:
    def predict_batch(self, items: list[int]) -> Iterator[int]:
        raise NotImplementedError


class _TwoSignatures:
    def predict(self, text: str, lang: str) -> str:
        raise NotImplementedError

    def predict_batch(self, items: list[str]) -> list[str]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("code", "options", "remedy"),
    [
        (_NoPredict, {}, "has no predict and no predict_batch method"),
        (_NeedsArguments, {}, "must be callable without arguments"),
        (_AsyncSetup, {}, "setup must be a plain method"),
        (_SetupWithoutContext, {}, "write def setup"),
        (_AsyncTeardown, {}, "teardown must be a plain method, def teardown(self) -> None"),
        (_WarmupWithoutContext, {}, "write def warmup"),
        (_NoList, {}, "takes exactly one parameter, items: list"),
        (_BatchStream, {}, "it cannot be a stream"),
        (_TwoSignatures, {"batch": Batch()}, "write predict"),
        (Embed, {"batch": Batch()}, "batch= needs a class with predict_batch"),
        (Embed, {"executor": "loop"}, "a def would block the event loop"),
    ],
)
def test_what_cannot_be_a_class_model_is_refused_with_the_remedy(code: type, options: Any, remedy: str) -> None:
    assert remedy in refusal(code, **options)


def test_a_method_in_a_class_body_is_refused() -> None:
    # Python 3.11 wraps what __set_name__ raises.
    with pytest.raises((InvalidModel, RuntimeError)) as caught:
        type("Service", (), {"predict": echo})
    assert "make the class a model: model(Service)" in str(caught.value.__cause__ or caught.value)


def test_a_model_is_not_made_a_model_again() -> None:
    with pytest.raises(InvalidModel, match="<Model echo> is a model already"):
        model(echo)


def test_registering_twice_reads_the_signature_once() -> None:
    fresh = model(_takes_one)
    fresh.register()
    runner = fresh.runner(Limits())
    fresh.register()
    assert fresh.runner(Limits()) is not runner


def _takes_one(number: int) -> int:
    return number


def test_the_import_path_is_known_only_where_there_is_one() -> None:
    def local(number: int) -> int:
        raise NotImplementedError

    assert model(_takes_one).target == f"{__name__}:_takes_one"
    assert model(local).target is None
    assert model(Both().predict).target is None


def test_a_published_model_binds_by_name_and_checks_nothing() -> None:
    remote = published_model(scale.publish())
    submission = remote.options(priority=2).bind(number="wrong")
    assert (submission.model.name, submission.model.queue, submission.options) == ("scale", "slow", {"priority": 2})
    assert msgspec.msgpack.decode(submission.input) == {"number": "wrong"}


def test_a_published_model_keeps_the_models_own_defaults() -> None:
    remote = published_model(scale.publish())
    assert (remote.retry, remote.time_limit, remote.queue_timeout, remote.crash_budget) == (scale.retry, 1.5, 2.0, 2)
    assert (remote.input_schema(), remote.result_schema()) == (scale.input_schema(), scale.result_schema())


def test_a_published_model_stores_json_as_it_came() -> None:
    submission = published_model(echo.publish()).bind_json(b'{ "text": "a" }')
    assert (submission.input, submission.content_type) == (b'{ "text": "a" }', "application/json")


def test_a_published_model_cannot_run_here() -> None:
    remote = published_model(echo.publish())
    with pytest.raises(UnknownModel, match="the code of model echo is not here"):
        remote(text="a")
    with pytest.raises(UnknownModel, match="the code of model echo is not here"):
        remote.runner(Limits())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="inspect.markcoroutinefunction came with Python 3.12")
def test_inspect_knows_an_async_model() -> None:
    assert inspect.iscoroutinefunction(echo)
    assert not inspect.iscoroutinefunction(scale)
