"""JSON from the service, as records of the wire or as the caller's own types."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec

from asyncinfer.client.errors import UnexpectedAnswer

T = TypeVar("T")


def decoded(data: bytes | str, kind: type[T], what: str) -> T:
    """Return JSON as `kind`, a record of the wire. Raise UnexpectedAnswer when it is none."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, ValueError, RecursionError) as exc:
        raise UnexpectedAnswer(f"{what} is not of this contract: {exc}") from exc


def fitted(value: object, kind: type[T], what: str) -> T:
    """Return a decoded JSON value as `kind`: any type that msgspec knows, or a pydantic model; bytes are base64.

    Raise UnexpectedAnswer, with the path, when it does not fit.
    """
    try:
        return msgspec.convert(value, kind, str_keys=True, dec_hook=_hook)
    except (msgspec.ValidationError, RecursionError) as exc:
        raise UnexpectedAnswer(f"{what} does not fit {getattr(kind, '__name__', kind)}: {exc}") from exc


def _hook(kind: Any, value: object) -> object:  # Any: pydantic is optional, so its types cannot be named
    validate = getattr(kind, "model_validate", None)
    if validate is None:
        raise NotImplementedError(f"a value of type {kind!r} cannot be decoded")
    return cast("object", validate(value))
