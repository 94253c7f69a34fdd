"""Read the signature of a function or class: its parameters, its result, whether it is async or a stream."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import types
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Struct

from asyncinfer._annotations import check_annotation, union_of
from asyncinfer.errors import InvalidModel

# Any, all over this file: annotations and defaults are whatever the user wrote.
_ASYNC_STREAMS = (collections.abc.AsyncIterator, collections.abc.AsyncGenerator)
_STREAMS = (collections.abc.Iterator, collections.abc.Generator)
_AWAITABLES = (collections.abc.Coroutine, collections.abc.Awaitable)
_LIFECYCLE = (
    ("setup", 2, "def setup(self, ctx: SetupContext) -> None"),
    ("warmup", 2, "def warmup(self, ctx: SetupContext) -> None"),
    ("teardown", 1, "def teardown(self) -> None"),
)
"""Method, arguments with self, and how it is written."""

NO_DEFAULT: Any = inspect.Parameter.empty


class Parameter(Struct, frozen=True):
    """One parameter of a model."""

    name: str
    annotation: Any
    default: Any = NO_DEFAULT
    is_keyword_only: bool = False


class Signature(Struct, frozen=True):
    """What a model takes and gives."""

    method: Literal["", "predict", "predict_batch"]
    """Which method of a class runs jobs; empty for a function."""
    parameters: tuple[Parameter, ...]
    result: Any
    """The type of a job's result: for a stream the list of its yields."""
    yields: Any = None
    """The type of one yield of a stream."""
    is_async: bool = False
    is_stream: bool = False
    has_flat_item: bool = False
    """The one parameter is an object whose fields are themselves the input."""

    @property
    def is_batch(self) -> bool:
        return self.method == "predict_batch"


def read_signature(target: Callable[..., Any], name: str, *, has_batch: bool) -> Signature:
    """Return the signature of a model's function or class. Raise InvalidModel, saying what to change."""
    signature = _of_class(target, name, has_batch=has_batch) if isinstance(target, type) else _of_function(target, name)
    if has_batch and not signature.is_batch:
        raise InvalidModel(
            f"model {name}: batch= needs a class with predict_batch(self, items: list[Item]) -> list[Result]"
        )
    for parameter in signature.parameters:
        check_annotation(parameter.annotation, f"model {name}, parameter {parameter.name}")
    check_annotation(signature.yields if signature.is_stream else signature.result, f"model {name}, result")
    return signature


def _of_function(target: Any, name: str) -> Signature:
    if isinstance(target, functools.partial):
        raise InvalidModel(f"model {name}: a functools.partial has no signature of its own; write a def that calls it")
    if not inspect.isroutine(target):
        kind = type(target).__qualname__
        raise InvalidModel(f"model {name}: expected a function or a class with predict, got an instance of {kind}")
    if getattr(target, "__name__", "") == "<lambda>":
        raise InvalidModel("a lambda has no annotations and no name; write a def")
    return _read(target, name, "", skip=0)


def _of_class(target: type, name: str, *, has_batch: bool) -> Signature:
    has_predict = callable(getattr(target, "predict", None))
    if not has_predict and not callable(getattr(target, "predict_batch", None)):
        raise InvalidModel(f"model {name}: the class {target.__qualname__} has no predict and no predict_batch method")
    _check_constructor(target, name)
    _check_lifecycle(target, name)
    single = _read(*_method(target, "predict", name)) if has_predict else None
    if single is not None and not (has_batch and callable(getattr(target, "predict_batch", None))):
        return single
    batch = _as_batch(_read(*_method(target, "predict_batch", name)), name)
    if single is None:
        return batch
    only = single.parameters[0] if len(single.parameters) == 1 else None
    if only is None or only.is_keyword_only or only.annotation != batch.parameters[0].annotation:
        raise InvalidModel(f"model {name}: beside predict_batch(items: list[Item]), write predict(self, item: Item)")
    return Signature(method="predict_batch", parameters=single.parameters, result=batch.result, is_async=batch.is_async)


def _method(target: type, method: Literal["predict", "predict_batch"], name: str) -> tuple[Any, str, Any, int]:
    is_bound = isinstance(inspect.getattr_static(target, method), (staticmethod, classmethod))
    return getattr(target, method), name, method, 0 if is_bound else 1


def _read(function: Any, name: str, method: Literal["", "predict", "predict_batch"], skip: int) -> Signature:
    try:
        declared = list(inspect.signature(function).parameters.values())[skip:]
        hints = get_type_hints(function, include_extras=True)
    except NameError as exc:
        raise InvalidModel(
            f"model {name}: an annotation cannot be resolved: {exc}; import the name at run time (not under"
            " TYPE_CHECKING) and define it at module level"
        ) from exc
    except (TypeError, ValueError, AttributeError, SyntaxError) as exc:
        raise InvalidModel(f"model {name}: its signature cannot be read: {exc}; write an annotated def") from exc
    parameters = tuple(_parameter(one, hints, name) for one in declared)
    return _with_result(function, name, method, parameters, hints.get("return", Any))


def _parameter(declared: inspect.Parameter, hints: dict[str, Any], name: str) -> Parameter:
    if declared.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise InvalidModel(
            f"model {name}: {declared} takes any input, unchecked; name each parameter, or take one dict"
        )
    if declared.name not in hints:
        raise InvalidModel(f"model {name}, parameter {declared.name}: it has no annotation; write its type")
    is_keyword_only = declared.kind is inspect.Parameter.KEYWORD_ONLY
    return Parameter(declared.name, hints[declared.name], declared.default, is_keyword_only)


def _with_result(function: Any, name: str, method: Any, parameters: tuple[Parameter, ...], returned: Any) -> Signature:
    origin = get_origin(returned) or returned
    item = (*get_args(returned), Any)[0]
    yielded = types.GenericAlias(list, (item,))
    is_coroutine = inspect.iscoroutinefunction(function)
    if is_coroutine and origin in (*_ASYNC_STREAMS, *_STREAMS):
        raise InvalidModel(
            f"model {name}: an async def that returns {origin.__name__} without a yield of its own is no stream;"
            " yield in it, or make it a def"
        )
    if inspect.isasyncgenfunction(function) or origin in _ASYNC_STREAMS:
        return Signature(method, parameters, yielded, yields=item, is_async=True, is_stream=True)
    if inspect.isgeneratorfunction(function) or origin in _STREAMS:
        return Signature(method, parameters, yielded, yields=item, is_stream=True)
    if not is_coroutine and origin in _AWAITABLES:
        # Coroutine[Any, Any, R] and Awaitable[R] both say it last.
        return Signature(method, parameters, (Any, *get_args(returned))[-1], is_async=True)
    return Signature(method, parameters, returned, is_async=is_coroutine)


def _as_batch(signature: Signature, name: str) -> Signature:
    if len(signature.parameters) != 1 or get_origin(signature.parameters[0].annotation) is not list:
        raise InvalidModel(f"model {name}: predict_batch takes exactly one parameter, items: list[Item]")
    if signature.is_stream:
        raise InvalidModel(f"model {name}: predict_batch returns a list, one result an item; it cannot be a stream")
    item = get_args(signature.parameters[0].annotation)[0]
    return Signature(
        method="predict_batch",
        parameters=(Parameter("item", item),),
        result=_without_exceptions((*get_args(signature.result), Any)[0]),
        is_async=signature.is_async,
        has_flat_item=_is_object(item),
    )


def _without_exceptions(annotation: Any) -> Any:
    """Drop `Exception` from a batch's `Result | Exception`."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    return union_of(kind for kind in get_args(annotation) if kind is not Exception)


def _is_object(annotation: Any) -> bool:
    kind: Any = get_origin(annotation) or annotation
    marks = ("__struct_fields__", "__dataclass_fields__", "__total__", "model_json_schema")
    return isinstance(kind, type) and any(hasattr(kind, mark) for mark in marks)


def _check_constructor(target: type, name: str) -> None:
    try:
        inspect.signature(target).bind()
    except TypeError as exc:
        raise InvalidModel(
            f"model {name}: {target.__qualname__}() must be callable without arguments ({exc}); load what it needs in"
            " setup(self, ctx)"
        ) from exc
    except ValueError:
        return  # a class written in C tells no signature: the call itself will show


def _check_lifecycle(target: type, name: str) -> None:
    for method, taken, shape in _LIFECYCLE:
        function = getattr(target, method, None)
        if function is None:
            continue
        if inspect.iscoroutinefunction(function) or not callable(function):
            raise InvalidModel(f"model {name}: {method} must be a plain method, {shape}")
        try:
            inspect.signature(function).bind(*[None] * taken)
        except TypeError as exc:
            raise InvalidModel(f"model {name}: write {shape} ({exc})") from exc
