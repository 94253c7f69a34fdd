"""What stands behind a Model: the user's function or class with its options, or what a worker published of one."""

from __future__ import annotations

import functools
import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, cast

from asyncinfer._binding import Binding, bind_unchecked, canonical_unchecked, check_json_object
from asyncinfer._codec import decode
from asyncinfer._context import SetupContext
from asyncinfer._instance import Instance
from asyncinfer._job import JSON, MSGPACK
from asyncinfer._limits import Limits
from asyncinfer._options import Batch, ModelOptions, check_model_options
from asyncinfer._resources import Resources
from asyncinfer._result import ResultCodec
from asyncinfer._retry import NO_RETRY, RetryPolicy
from asyncinfer._runner import ModelRunner, Recipe
from asyncinfer._signature import Signature, read_signature
from asyncinfer.abc import PublishedModel, RunnerSpec
from asyncinfer.errors import InvalidInput, InvalidModel, InvalidOption, UnknownModel

# Any, all over this file: the input and result are typed by Model's parameters; in here they are the user's own.


class Definition(ABC):
    """One model, shared by every Model that `options()` makes of it."""

    name: str
    queue: str
    retry: RetryPolicy
    time_limit: float | None
    queue_timeout: float | None
    crash_budget: int
    concurrency: int | None = None
    batch: Batch | None = None
    memory_limit: int | None = None
    preload: bool = True
    resources: Resources = Resources()
    target: str | None = None

    @abstractmethod
    def register(self) -> None:
        """Make it ready to bind; later calls return at once. Raise InvalidModel."""

    @property
    @abstractmethod
    def executor(self) -> str: ...

    @property
    @abstractmethod
    def is_async(self) -> bool: ...

    @property
    @abstractmethod
    def is_stream(self) -> bool: ...

    @abstractmethod
    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Return the input as msgpack. Raise InvalidInput."""

    @abstractmethod
    def bind_json(self, data: bytes) -> tuple[bytes, str]:
        """Return (input, content type) of a JSON object. Raise InvalidInput."""

    @abstractmethod
    def canonical(self, data: bytes, content_type: str) -> bytes:
        """Return equal bytes for equal inputs."""

    @abstractmethod
    def place(self, data: bytes) -> tuple[str, int]:
        """Return (batch key, cost) of a bound input. Raise InvalidInput when the model's own functions refuse it."""

    @abstractmethod
    def decode_result(self, data: bytes) -> Any: ...

    @abstractmethod
    def decode_output(self, data: bytes) -> Any: ...

    @abstractmethod
    def input_schema(self) -> bytes: ...

    @abstractmethod
    def result_schema(self) -> bytes: ...

    @abstractmethod
    def runner(self, limits: Limits) -> ModelRunner:
        """Return a fresh runner with an instance of its own. Raise UnknownModel where the code is not here."""

    @abstractmethod
    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the user's code as the plain function it is."""


class LocalDefinition(Definition):
    """A model whose code is here."""

    def __init__(self, code: Callable[..., Any], options: ModelOptions) -> None:
        """Raise InvalidOption. The signature is read later, when every name it mentions exists."""
        check_model_options(cast("Mapping[str, object]", options))
        self.code = code
        self.name = options.get("name") or str(getattr(code, "__name__", type(code).__name__))
        self.queue = options.get("queue", "default")
        self.retry = options.get("retry", NO_RETRY)
        self.time_limit = options.get("time_limit")
        self.queue_timeout = options.get("queue_timeout")
        self.crash_budget = options.get("crash_budget", 3)
        self.concurrency = options.get("concurrency")
        self.batch = options.get("batch")
        self.memory_limit = options.get("memory_limit")
        self.preload = options.get("preload", True)
        self.resources = options.get("resources", Resources())
        self.target = _import_path(code)
        self._executor = options.get("executor")
        self._lock = threading.Lock()
        self._registered: tuple[Signature, Binding, ResultCodec] | None = None

    def register(self) -> None:
        self._parts()

    @property
    def executor(self) -> str:
        return self._executor or ("loop" if self.is_async else "thread")

    @property
    def is_async(self) -> bool:
        return self._parts()[0].is_async

    @property
    def is_stream(self) -> bool:
        return self._parts()[0].is_stream

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        return (self._registered or self._parts())[1].bind(args, kwargs)

    def bind_json(self, data: bytes) -> tuple[bytes, str]:
        return self._parts()[1].bind_json(data), MSGPACK

    def canonical(self, data: bytes, content_type: str) -> bytes:
        return self._parts()[1].canonical(data, content_type)

    def place(self, data: bytes) -> tuple[str, int]:
        if self.batch is None:
            return "", 1
        (item,), _ = self._parts()[1].decode(data)
        try:
            return self.batch.place(item)
        except InvalidOption as exc:
            raise InvalidInput(f"input: model {self.name}: {exc}") from exc

    def decode_result(self, data: bytes) -> Any:
        return self._parts()[2].decode(data)

    def decode_output(self, data: bytes) -> Any:
        return self._parts()[2].decode_output(data)

    def input_schema(self) -> bytes:
        return self._parts()[1].schema()

    def result_schema(self) -> bytes:
        return self._parts()[2].schema(f"{self.name} result")

    def runner(self, limits: Limits) -> ModelRunner:
        signature, binding, result = self._parts()
        return ModelRunner(
            Recipe(
                spec=RunnerSpec(
                    model=self.name,
                    executor=self.executor,
                    code=self.code,
                    target=self.target,
                    retry_on=self.retry.retry_on,
                    is_batch=self.batch is not None,
                    bisects=self.batch is None or self.batch.on_error == "bisect",
                    memory_limit=self.memory_limit,
                    result_bytes=limits.result_bytes,
                    checkpoint_bytes=limits.checkpoint_bytes,
                ),
                signature=signature,
                binding=binding,
                result=result,
            )
        )

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not isinstance(self.code, type):
            return self.code(*args, **kwargs)
        instance = self._instance.get(SetupContext(model=self.name, executor=""))
        method = self._parts()[0].method
        if method == "predict" or hasattr(instance, "predict"):
            return instance.predict(*args, **kwargs)
        answers = instance.predict_batch([*args, *kwargs.values()])
        return _only_later(answers) if self.is_async else _only(answers)

    @functools.cached_property
    def _instance(self) -> Instance:
        assert isinstance(self.code, type)
        return Instance(self.code)

    def _parts(self) -> tuple[Signature, Binding, ResultCodec]:
        if self._registered is None:
            with self._lock:
                if self._registered is None:
                    self._registered = self._read()
        return self._registered

    def _read(self) -> tuple[Signature, Binding, ResultCodec]:
        signature = read_signature(self.code, self.name, has_batch=self.batch is not None)
        if self._executor == "loop" and not signature.is_async:
            raise InvalidModel(
                f"model {self.name}: a def would block the event loop; write async def, or executor='thread'"
            )
        return signature, Binding(self.name, signature), ResultCodec(signature)


class PublishedDefinition(Definition):
    """A model whose code is elsewhere, known by what its workers publish: inputs are stored unchecked."""

    def __init__(self, published: PublishedModel) -> None:
        self._published = published
        self.name = published.name
        self.queue = published.queue
        self.retry = _policy(published)
        self.time_limit = _seconds(published.time_limit)
        self.queue_timeout = _seconds(published.queue_timeout)
        self.crash_budget = published.crash_budget

    @property
    def executor(self) -> str:
        return self._published.executor

    @property
    def is_async(self) -> bool:
        return False

    @property
    def is_stream(self) -> bool:
        return False

    def register(self) -> None:
        """Nothing to make ready."""

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        return bind_unchecked(args, kwargs)

    def bind_json(self, data: bytes) -> tuple[bytes, str]:
        check_json_object(data)
        return bytes(data), JSON

    def canonical(self, data: bytes, content_type: str) -> bytes:
        return canonical_unchecked(data, content_type)

    def place(self, data: bytes) -> tuple[str, int]:
        return "", 1

    def decode_result(self, data: bytes) -> Any:
        return decode(data)

    def decode_output(self, data: bytes) -> Any:
        return decode(data)

    def input_schema(self) -> bytes:
        return self._published.input_schema

    def result_schema(self) -> bytes:
        return self._published.result_schema

    def runner(self, limits: Limits) -> ModelRunner:
        raise UnknownModel(f"the code of model {self.name} is not here: only a manager that imports it can run it")

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        raise UnknownModel(f"the code of model {self.name} is not here: submit it instead of calling it")


def _import_path(code: Any) -> str | None:
    module, qualname = getattr(code, "__module__", None), getattr(code, "__qualname__", None)
    has_path = isinstance(module, str) and isinstance(qualname, str) and "<" not in qualname and module != "__main__"
    return f"{module}:{qualname}" if has_path and not inspect.ismethod(code) else None


def _policy(published: PublishedModel) -> RetryPolicy:
    if published.backoff is None:
        return RetryPolicy(max_attempts=published.max_attempts)
    return RetryPolicy(
        max_attempts=published.max_attempts,
        initial_delay=published.backoff.initial_delay / 1000,
        max_delay=published.backoff.max_delay / 1000,
        multiplier=published.backoff.multiplier,
        jitter=published.backoff.jitter,
    )


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


async def _only_later(answers: Any) -> Any:
    return _only(await answers)


def _only(answers: Any) -> Any:
    (answer,) = answers
    if isinstance(answer, Exception):
        raise answer
    return answer
