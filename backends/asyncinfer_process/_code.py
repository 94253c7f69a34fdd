"""How a model's code gets into another process: by its import path, or pickled when `__main__` defines it."""

from __future__ import annotations

import importlib
import inspect
import pickle
import sys
from collections.abc import Callable
from functools import reduce
from types import ModuleType
from typing import Any, cast

from asyncinfer import Batch, Limits, Model, RetryPolicy, model
from asyncinfer.abc import Runner, RunnerSpec
from asyncinfer.errors import InvalidModel
from asyncinfer_process._messages import Load

# Any, all over this file: the user's function or class.


def check_portable(spec: RunnerSpec) -> None:
    """Raise InvalidModel, with the remedy, for code that another process cannot get."""
    code = spec.code
    name = getattr(code, "__qualname__", repr(code))
    if inspect.ismethod(code):
        raise InvalidModel(
            f"model {spec.model}: {name} is a method of an object, which no other process has; make the class a model"
        )
    if "<locals>" in name:
        raise InvalidModel(f"model {spec.model}: {name} is defined inside a function; move it to module level")
    if spec.target is not None and not _leads_to(spec.target, code):
        raise InvalidModel(
            f"model {spec.model}: {spec.target} is another object than the model's code, and a worker process would"
            " get that; let the name be the model or its code"
        )
    pack(spec)


def pack(spec: RunnerSpec) -> tuple[str | None, tuple[str, ...], bytes]:
    """Return (target, paths of retry_on, pickle): by path where that leads to all of it, else by value.

    Raises InvalidModel when it cannot be pickled.
    """
    paths = [f"{error.__module__}:{error.__qualname__}" for error in spec.retry_on]
    if spec.target is not None and all(map(_leads_to, paths, spec.retry_on)):
        return spec.target, tuple(paths), b""
    pickler = _require_pickler(spec)
    try:
        return None, (), pickler.dumps((spec.code, spec.retry_on))
    except Exception as error:  # whatever an object of the user's raises when it is pickled
        raise InvalidModel(
            f"model {spec.model}: its code is not in a module that a worker process can import, and cannot be pickled:"
            f" {error}; move it to a module"
        ) from error


def unpack(load: Load, pickled: bytes) -> Runner:
    """Return a runner of what `pack` made of it. Raise whatever the import raises."""
    if load.target is None:
        code, retry_on = pickle.loads(pickled)  # noqa: S301  from the process that started this one
    else:
        code, retry_on = _code_of(_found(load.target)), tuple(_found(path) for path in load.retry_on)
    options: dict[str, Any] = {}
    if load.is_batch:
        options["batch"] = Batch(on_error="bisect" if load.bisects else "fail")
    if retry_on != (Exception,):
        options["retry"] = RetryPolicy(retry_on=retry_on)
    made: Model[..., Any, Any] = model(code, name=load.model, executor=load.executor, **options)
    return made.runner(Limits(result_bytes=load.result_bytes, checkpoint_bytes=load.checkpoint_bytes))


def _require_pickler(spec: RunnerSpec) -> ModuleType:
    try:
        return importlib.import_module("cloudpickle")
    except ModuleNotFoundError:
        raise InvalidModel(
            f"model {spec.model}: a worker process cannot import {getattr(spec.code, '__qualname__', spec.code)!r} or"
            " what it is retried on; move it from the main script to a module, or: pip install 'asyncinfer[process]'"
        ) from None


def _leads_to(path: str, code: object) -> bool:
    """Tell whether another process finds the same under this path."""
    try:
        return not path.startswith("__main__:") and _code_of(_found(path)) is code
    except (ImportError, AttributeError):
        return False


def _found(path: str) -> Any:
    module, _, qualname = path.partition(":")
    found = sys.modules.get(module) or importlib.import_module(module)
    return reduce(getattr, qualname.split("."), found)


def _code_of(found: Any) -> Callable[..., Any]:
    """Return the user's code where a decorator has put a Model in its place."""
    return cast("Callable[..., Any]", vars(found)["__wrapped__"] if isinstance(found, Model) else found)
