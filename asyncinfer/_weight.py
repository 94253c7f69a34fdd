"""Guess how large a value is once encoded, to keep heavy work off the event loop."""

from __future__ import annotations

from itertools import islice
from typing import Any

from asyncinfer._codec import is_dict, is_list

HEAVY_BYTES = 256 * 1024
"""From here on encoding, checking and hashing are done in a thread; below it the hop costs more than it saves."""
_SAMPLE = 64
_MAX_DEPTH = 6


def is_heavy(value: object) -> bool:
    """Tell whether a value is probably above HEAVY_BYTES once encoded; a guess that costs about a microsecond."""
    return _weight(value, 0) > HEAVY_BYTES


def _weight(value: Any, depth: int) -> int:
    if isinstance(value, (str, bytes, bytearray)):
        return len(value)
    if value is None or isinstance(value, (int, float)) or depth > _MAX_DEPTH:
        return 9
    if is_dict(value):
        # Of a long container only the first parts are weighed; the others are taken to be like them.
        parts = [_weight(name, depth + 1) + _weight(part, depth + 1) for name, part in islice(value.items(), _SAMPLE)]
        return _whole(parts, len(value))
    if is_list(value):
        return _whole([_weight(part, depth + 1) for part in islice(value, _SAMPLE)], len(value))
    bytes_held = getattr(value, "nbytes", None)
    if isinstance(bytes_held, int):
        return bytes_held
    names: Any = getattr(value, "__struct_fields__", None) or getattr(value, "__dict__", ())
    return 9 + sum(_weight(getattr(value, name, None), depth + 1) for name in islice(names, _SAMPLE))


def _whole(parts: list[int], length: int) -> int:
    return sum(parts) * length // len(parts) if parts else 1
