"""Model[P, R, C]: a function or class that can be submitted, still callable as the plain Python it is.

P is the input, R a job's result, C what a plain call gives (R itself, a coroutine of it, or an iterator of yields).
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, Unpack, cast, final, overload

from msgspec import Struct

from asyncinfer._codec import fingerprint
from asyncinfer._definition import Definition, LocalDefinition, PublishedDefinition
from asyncinfer._job import MSGPACK, shown
from asyncinfer._limits import Limits
from asyncinfer._options import Batch, ModelOptions, SubmitOptions, check_submit_options
from asyncinfer._resources import Resources
from asyncinfer._retry import RetryPolicy
from asyncinfer.abc import PublishedModel, Runner
from asyncinfer.errors import InvalidModel

P = ParamSpec("P")
R = TypeVar("R")
Y = TypeVar("Y")
I = TypeVar("I")  # noqa: E741  the item of a batch
R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)

_NO_OPTIONS: Mapping[str, object] = {}


class Submission(Struct, Generic[R_co], frozen=True, gc=False):
    """A bound, checked and encoded input on its way to a store."""

    model: Model[..., R_co, object]
    options: Mapping[str, object]
    """What `options()` set, already checked."""
    input: bytes
    content_type: str = MSGPACK
    batch_key: str = ""
    cost: int = 1
    request: bytes = b""
    """What else must be equal under one key or id; an adapter that takes whole requests puts their rest here."""
    hashed: bytes = b""
    """Its fingerprint, where that was already worked out: that of a large input takes long."""

    def __repr__(self) -> str:
        return shown(self, "options", "input", "request")

    def fingerprint(self) -> bytes:
        """Return a hash that is equal for equal inputs of one model, whatever door they came through."""
        if self.hashed:
            return self.hashed
        canonical = self.model.definition.canonical(self.input, self.content_type)
        return fingerprint(self.model.name.encode(), canonical)


class Model(Generic[P, R_co, C_co]):
    """A model: made by `model()`, registered by a manager, submitted by anyone. Immutable; safe from any thread."""

    def __init__(self, definition: Definition, submit_options: Mapping[str, object] = _NO_OPTIONS) -> None:
        self.definition: Definition = definition
        self.submit_options: Mapping[str, object] = submit_options
        self.name: str = definition.name
        self._has_batch = definition.batch is not None
        if isinstance(definition, LocalDefinition):
            functools.update_wrapper(cast("Callable[..., object]", self), definition.code, updated=())
            _mark(self, definition.code)

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> C_co:
        """Call the user's code right here: no job, no checks. A class gets one instance, set up by the first call."""
        return cast("C_co", self.definition.call(args, kwargs))

    def bind(self, /, *args: P.args, **kwargs: P.kwargs) -> Submission[R_co]:
        """Return a submission of this input. Raise InvalidInput, its message beginning with the path."""
        data = self.definition.bind(args, kwargs)
        if self._has_batch:
            return Submission(self, self.submit_options, data, MSGPACK, *self.definition.place(data))
        return Submission(self, self.submit_options, data)

    def bind_json(self, data: bytes, /) -> Submission[R_co]:
        """Return a submission of a JSON object of the parameters' names. Raise InvalidInput."""
        bound, content_type = self.definition.bind_json(data)
        return Submission(self, self.submit_options, bound, content_type, *self.definition.place(bound))

    def options(self, /, **options: Unpack[SubmitOptions]) -> Model[P, R_co, C_co]:
        """Return the same model with options for the submits made through it. Raise InvalidOption.

        What is not given stays as it was; the model itself is not changed.
        """
        merged = {**self.submit_options, **options}
        check_submit_options(merged)
        return Model(self.definition, merged)

    def __set_name__(self, owner: type, name: str) -> None:
        raise InvalidModel(
            f"model {self.name}: a method in the body of class {owner.__qualname__} cannot be a model; move it to"
            f" module level, or make the class a model: model({owner.__qualname__})"
        )

    def __repr__(self) -> str:
        return f"<Model {self.name}>"

    @property
    def queue(self) -> str:
        return self.definition.queue

    @property
    def executor(self) -> str:
        return self.definition.executor

    @property
    def retry(self) -> RetryPolicy:
        return self.definition.retry

    @property
    def time_limit(self) -> float | None:
        """Seconds that one attempt may take, or None."""
        return self.definition.time_limit

    @property
    def queue_timeout(self) -> float | None:
        """Seconds that a job may wait for its first start, or None."""
        return self.definition.queue_timeout

    @property
    def concurrency(self) -> int | None:
        return self.definition.concurrency

    @property
    def crash_budget(self) -> int:
        return self.definition.crash_budget

    @property
    def batch(self) -> Batch | None:
        return self.definition.batch

    @property
    def memory_limit(self) -> int | None:
        """Bytes that a worker process of it may take, or None."""
        return self.definition.memory_limit

    @property
    def preload(self) -> bool:
        return self.definition.preload

    @property
    def resources(self) -> Resources:
        return self.definition.resources

    @property
    def is_async(self) -> bool:
        return self.definition.is_async

    @property
    def is_stream(self) -> bool:
        return self.definition.is_stream

    @property
    def target(self) -> str | None:
        """Import path `module:qualname` of the user's code, or None when it cannot be imported by one."""
        return self.definition.target

    def register(self) -> None:
        """Read the signature and build the codecs; later calls return at once. Raise InvalidModel, with the remedy."""
        self.definition.register()

    def runner(self, limits: Limits) -> Runner:
        """Return a fresh runner, with a class instance of its own. Raise UnknownModel where the code is not here."""
        return self.definition.runner(limits)

    def decode_result(self, data: bytes, /) -> R_co:
        """Return a stored result. Raise ValueError when it does not fit the model's result."""
        return cast("R_co", self.definition.decode_result(data))

    def decode_output(self, data: bytes, /) -> Any:  # Any: the yield's type is named by JobHandle.stream, not by R
        """Return one stored output. Raise ValueError when it does not fit the model's yields."""
        return self.definition.decode_output(data)

    def input_schema(self) -> bytes:
        """Return the JSON Schema of the input object, as JSON."""
        return self.definition.input_schema()

    def result_schema(self) -> bytes:
        """Return the JSON Schema of the result, as JSON."""
        return self.definition.result_schema()

    def publish(self) -> PublishedModel:
        """Return what submitters need that do not import this model."""
        return PublishedModel(
            name=self.name,
            queue=self.queue,
            executor=self.executor,
            input_schema=self.input_schema(),
            result_schema=self.result_schema(),
            max_attempts=self.retry.max_attempts,
            crash_budget=self.crash_budget,
            backoff=self.retry.backoff,
            time_limit=_milliseconds(self.time_limit),
            queue_timeout=_milliseconds(self.queue_timeout),
        )


def published_model(published: PublishedModel) -> Model[..., Any, Any]:  # Any: its types are where its code is
    """Return a model to submit to by name: inputs are stored unchecked, and the worker ends a wrong one as failed."""
    return Model(PublishedDefinition(published))


class _Predicts(Protocol[P, R_co]):
    def predict(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class _PredictsBatch(Protocol[I, R_co]):
    def predict_batch(self, items: list[I], /) -> Sequence[R_co | Exception]: ...


class _PredictsBatchAsync(Protocol[I, R_co]):
    # Any: the two parameters of a coroutine that nobody uses.
    def predict_batch(self, items: list[I], /) -> Coroutine[Any, Any, Sequence[R_co | Exception]]: ...


@final
class _Opaque:
    """Nothing returns it: an overload for it catches only code that returns Any, which would match a stream's too."""


class ModelDecorator(Protocol):
    """What `model(...)` with options alone returns."""

    @overload
    def __call__(self, code: Callable[P, _Opaque], /) -> Model[P, Any, Any]: ...
    @overload
    def __call__(self, code: Callable[P, AsyncIterator[Y]], /) -> Model[P, list[Y], AsyncIterator[Y]]: ...
    @overload
    def __call__(self, code: Callable[P, Coroutine[Any, Any, R]], /) -> Model[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, code: Callable[P, Iterator[Y]], /) -> Model[P, list[Y], Iterator[Y]]: ...
    @overload
    def __call__(self, code: Callable[P, R], /) -> Model[P, R, R]: ...


# The order is the design: `-> Any` before everything it would match, classes before the callables that they are too.
# Any: code that returns Any has no types to keep, and a coroutine's first two parameters are nobody's concern.
@overload
def model(code: type[_Predicts[P, _Opaque]], /, **options: Unpack[ModelOptions]) -> Model[P, Any, Any]: ...
@overload
def model(
    code: type[_Predicts[P, AsyncIterator[Y]]], /, **options: Unpack[ModelOptions]
) -> Model[P, list[Y], AsyncIterator[Y]]: ...
@overload
def model(
    code: type[_Predicts[P, Coroutine[Any, Any, R]]], /, **options: Unpack[ModelOptions]
) -> Model[P, R, Coroutine[Any, Any, R]]: ...
@overload
def model(
    code: type[_Predicts[P, Iterator[Y]]], /, **options: Unpack[ModelOptions]
) -> Model[P, list[Y], Iterator[Y]]: ...
@overload
def model(code: type[_Predicts[P, R]], /, **options: Unpack[ModelOptions]) -> Model[P, R, R]: ...
@overload
def model(
    code: type[_PredictsBatchAsync[I, R]], /, **options: Unpack[ModelOptions]
) -> Model[[I], R, Coroutine[Any, Any, R]]: ...
@overload
def model(code: type[_PredictsBatch[I, R]], /, **options: Unpack[ModelOptions]) -> Model[[I], R, R]: ...
@overload
def model(code: Callable[P, _Opaque], /, **options: Unpack[ModelOptions]) -> Model[P, Any, Any]: ...
@overload
def model(
    code: Callable[P, AsyncIterator[Y]], /, **options: Unpack[ModelOptions]
) -> Model[P, list[Y], AsyncIterator[Y]]: ...
@overload
def model(
    code: Callable[P, Coroutine[Any, Any, R]], /, **options: Unpack[ModelOptions]
) -> Model[P, R, Coroutine[Any, Any, R]]: ...
@overload
def model(code: Callable[P, Iterator[Y]], /, **options: Unpack[ModelOptions]) -> Model[P, list[Y], Iterator[Y]]: ...
@overload
def model(code: Callable[P, R], /, **options: Unpack[ModelOptions]) -> Model[P, R, R]: ...
@overload
def model(**options: Unpack[ModelOptions]) -> ModelDecorator: ...
def model(code: Any = None, /, **options: Unpack[ModelOptions]) -> Any:
    """Make a model of a function or class; `@model`, `@model(options)` or `model(Class, options)`.

    Raises InvalidOption for a wrong option. The signature is read when a manager registers the model: then InvalidModel
    says what cannot be a model and what to write instead. A class goes through a call, because type checkers do not
    follow class decorators; it needs `predict` or `predict_batch`, a constructor without arguments, and may have
    `setup(self, ctx)`.
    """

    def decorate(code: Any) -> Model[..., Any, Any]:
        if isinstance(code, Model):
            raise InvalidModel(f"{code!r} is a model already")
        return Model(LocalDefinition(code, options))

    return decorate if code is None else decorate(code)


def _mark(wrapper: object, code: Callable[..., object]) -> None:
    # Frameworks ask inspect whether to await: a wrapper can say so from Python 3.12 on.
    if sys.version_info >= (3, 12) and inspect.iscoroutinefunction(code):
        inspect.markcoroutinefunction(wrapper)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
