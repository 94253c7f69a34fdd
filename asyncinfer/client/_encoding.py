"""Values to JSON, refusing what no JSON can carry: NaN, infinity, integers beyond 64 bits, lone surrogates."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any, TypeGuard

import msgspec
from msgspec import Raw


class Unsendable(Exception):
    """A value cannot be sent; `path` leads to the part of it that is why."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


def encoded(value: object, path: str) -> Raw:
    """Return `value` as JSON: bytes as padded standard base64, arrays and tensors as nested lists, dumped models.

    Raise Unsendable.
    """
    try:
        data = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        _refuse(value, path)
        raise Unsendable(path, _why(exc)) from exc
    if _SUSPICIOUS.search(data):
        _refuse(value, path)
    return Raw(data)


def _refuse(value: Any, path: str) -> None:
    """Raise Unsendable for the innermost part that cannot be sent; an encoder's own errors carry no path."""
    try:
        for where, part in _parts(value, path):
            _require_sendable(where, part)
    except RecursionError:
        raise Unsendable(path, "nested too deep to be sent") from None


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield every leaf of a value and every name in it, with its path."""
    if _is_dict(value):
        for name, part in value.items():
            yield path, name if isinstance(name, str) else {name: None}
            step = f".{name}" if isinstance(name, str) else f"[{name!r}]"
            yield from _parts(part, path + step)
    elif _is_list(value):
        for position, part in enumerate(value):
            yield from _parts(part, f"{path}[{position}]")
    elif isinstance(value, msgspec.Struct) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        names: Any = getattr(value, "__struct_fields__", None) or getattr(value, "__dataclass_fields__", ())
        for name in names:
            yield from _parts(getattr(value, name), f"{path}.{name}")
    elif _has_plain_form(value):
        yield from _parts(_hook(value), path)
    else:
        yield path, value


def _require_sendable(path: str, value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Unsendable(path, f"{value} has no JSON")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise Unsendable(path, "an integer beyond 64 bits cannot be sent")
    try:
        _encoder.encode(value)
    except (TypeError, ValueError, OverflowError) as exc:
        raise Unsendable(path, _why(exc)) from exc


def _why(exc: BaseException) -> str:
    if isinstance(exc, RecursionError):
        return "nested too deep to be sent"
    if isinstance(exc, UnicodeEncodeError):
        return "a lone surrogate in a text cannot be sent"
    text = str(exc)
    return text[:1].lower() + text[1:]


def _hook(value: Any) -> Any:  # Any: numpy, torch and pydantic are optional, so their types cannot be named
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "model_dump"):
        return value.model_dump(by_alias=True)
    raise TypeError(f"a value of type {type(value).__qualname__} cannot be sent")


def _has_plain_form(value: object) -> bool:
    return not isinstance(value, type) and (hasattr(value, "tolist") or hasattr(value, "model_dump"))


def _is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """As isinstance, but both type checkers agree on what stands inside."""
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    return isinstance(value, (list, tuple, set, frozenset))


_encoder = msgspec.json.Encoder(enc_hook=_hook)
_SUSPICIOUS = re.compile(rb"null|[0-9]{19}")
"""NaN and infinity are written as null, long integers as they are: without either there is nothing to look for."""
