"""Read JSON as every parser would: what two parsers may understand differently is refused."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from asyncinfer._codec import check_json_depth

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_MAX_DIGITS = 20


class NotStrict(ValueError):
    """The text is no JSON, or ambiguous; the message says which, and shows nothing of it."""


def check_strict_json(data: bytes) -> None:
    """Raise NotStrict unless `data` is JSON in UTF-8, at most 32 deep, with unique names and numbers of 64 bits.

    NaN, infinities, numbers beyond a double, integers beyond 64 bits and lone surrogates are refused.
    """
    try:
        check_json_depth(data)
    except ValueError as error:
        raise NotStrict(str(error)) from None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrict("not UTF-8") from None
    try:
        value = _decoder.decode(text)
    except NotStrict:
        raise
    except ValueError as error:
        where = f" at line {error.lineno} column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise NotStrict(f"not JSON{where}") from None
    if _SURROGATE.search(text):
        _check_surrogates(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrict("an object has one name twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise NotStrict("NaN and infinities are no JSON")


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise NotStrict("an integer is beyond 64 bits")
    value = int(digits)
    if not -(2**63) <= value < 2**64:
        raise NotStrict("an integer is beyond 64 bits")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise NotStrict("a number is beyond a double")
    return value


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer, parse_float=_float
)


def _check_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise NotStrict("a text has a lone surrogate") from None
