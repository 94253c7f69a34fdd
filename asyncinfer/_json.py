"""Stored values as JSON, for those who ask over the wire: without the model's types, and without numpy or torch.

Bytes become padded standard base64, arrays and tensors nested lists, NaN and infinities null, keys texts.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import msgpack

from asyncinfer._codec import UNREADABLE, misfit
from asyncinfer._hooks import NUMPY_ARRAY, TORCH_TENSOR, plain_array

# Any: bytes say nothing of their type.
_decoder = msgpack.Decoder(ext_hook=msgpack.Ext)


def json_of(data: bytes) -> bytes:
    """Return stored msgpack as JSON. Raise ValueError when it is no msgpack, or holds what JSON cannot."""
    try:
        return _encoder.encode(_decoder.decode(data))
    except UNREADABLE as exc:
        raise ValueError(misfit(exc, "value")[1]) from exc


def json_value(data: bytes) -> msgspec.Raw:
    """Return stored msgpack as JSON that stands inside a larger answer. Raise ValueError as `json_of` does."""
    return msgspec.Raw(json_of(data))


def is_bytes(data: bytes) -> bool:
    """Tell whether a stored value is one `bytes`, which needs no JSON."""
    return bool(data) and 0xC4 <= data[0] <= 0xC6  # msgpack's bin 8, bin 16 and bin 32


def raw_bytes(data: bytes) -> bytes:
    """Return the `bytes` that a stored value is. Raise ValueError when it is something else."""
    try:
        return msgpack.decode(data, type=bytes)
    except UNREADABLE as exc:
        raise ValueError(misfit(exc, "value")[1]) from exc


def _plain(value: Any) -> Any:
    if isinstance(value, msgpack.Ext):
        if value.code in (NUMPY_ARRAY, TORCH_TENSOR):
            return plain_array(memoryview(value.data))
        return {"extension": value.code, "data": value.data}
    raise TypeError(f"a value of type {type(value).__qualname__} has no JSON form")


_encoder = msgspec.json.Encoder(enc_hook=_plain)
