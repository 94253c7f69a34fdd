"""Check and encode what a model gives back, where it is made; decode it for whoever asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from asyncinfer._annotations import bytes_as_views
from asyncinfer._codec import UNENCODABLE, UNREADABLE, encoder, find_unencodable, misfit, new_decoder
from asyncinfer._job import ErrorCode
from asyncinfer._schema import json_schema
from asyncinfer._signature import Signature


class ResultRefused(Exception):
    """A model's result cannot be kept; `code` says which way."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code


class ResultCodec:
    """The result of one model and, for a stream, its yields."""

    # Any: the result is the user's own type.
    def __init__(self, signature: Signature) -> None:
        self._annotation = signature.result
        self._decoder = new_decoder(signature.result)
        self._output = new_decoder(signature.yields if signature.is_stream else Any)
        checked = signature.yields if signature.is_stream else signature.result
        # What every value fits needs no check.
        self._check = None if checked is Any else new_decoder(bytes_as_views(checked))

    def encode(self, value: Any, limit: int) -> bytes:
        """Return a result (of a stream: one yield) as msgpack of at most `limit` bytes. Raise ResultRefused."""
        try:
            data = encoder.encode(value)
        except UNENCODABLE as exc:
            path, reason = find_unencodable(value, "result", exc)
            raise ResultRefused("result_unserializable", f"{path}: {reason}") from exc
        check_size(len(data), limit)
        if self._check is not None:
            try:
                self._check.decode(data)
            except UNREADABLE as exc:
                raise ResultRefused("result_unserializable", misfit(exc, "result")[1]) from exc
        return data

    def decode(self, data: bytes) -> Any:
        """Return a stored result. Raise ValueError when it does not fit (another version of the model made it)."""
        return self._typed(self._decoder, data)

    def decode_output(self, data: bytes) -> Any:
        """Return one stored yield, or an emitted value of a model that is no stream. Raise ValueError."""
        return self._typed(self._output, data)

    def schema(self, title: str) -> bytes:
        """Return the JSON Schema of the result, as JSON."""
        return json_schema(self._annotation, title=title)

    def _typed(self, decoder: msgspec.msgpack.Decoder[Any], data: bytes) -> Any:
        try:
            return decoder.decode(data)
        except UNREADABLE as exc:
            raise ValueError(misfit(exc, "result")[1]) from exc


def join_yields(pieces: Sequence[bytes]) -> bytes:
    """Return the list of already encoded yields as one encoded list."""
    return encoder.encode([msgspec.Raw(piece) for piece in pieces])


def check_size(size: int, limit: int) -> None:
    """Raise ResultRefused when a result has more bytes than its limit."""
    if size > limit:
        raise ResultRefused("result_too_large", f"the result has {size} bytes, the limit is {limit}")
