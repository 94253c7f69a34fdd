"""Values to bytes and back: msgpack by msgspec, with hooks for arrays, tensors and pydantic models.

Nothing here runs code that the bytes name. Integers beyond 64 bits, lone surrogates and values nested deeper than the
interpreter's recursion limit are refused in both directions.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterator
from functools import lru_cache
from itertools import accumulate
from typing import Any, TypeGuard, TypeVar, cast

import msgspec
from msgspec import msgpack

from asyncinfer._hooks import HookError, decode_hook, decode_json_hook, encode_hook, unpack_extension

T = TypeVar("T")

MAX_DEPTH = 32
"""How deep JSON from outside may nest: far above any real input, far below what recursion survives everywhere."""

UNENCODABLE = (TypeError, ValueError, OverflowError, RecursionError)
"""What an encoder raises for a value that it cannot write; UnicodeEncodeError is a ValueError."""
UNREADABLE = (msgspec.DecodeError, TypeError, ValueError, OverflowError, RecursionError)
"""What a decoder raises for bytes that do not fit; ValidationError is a DecodeError."""

encoder = msgpack.Encoder(enc_hook=encode_hook)
"""Writes values as they are stored; raises one of UNENCODABLE."""
canonical_encoder = msgpack.Encoder(enc_hook=encode_hook, order="deterministic")
"""Writes equal values as equal bytes, whatever the order of their dicts and sets."""
_untyped = msgpack.Decoder(ext_hook=unpack_extension)


def encode(value: object) -> bytes:
    """Return `value` as msgpack. Raise TypeError when it cannot be encoded."""
    try:
        return encoder.encode(value)
    except UNENCODABLE as exc:
        raise TypeError(why_unencodable(exc)) from exc


def decode(data: bytes) -> Any:  # Any: bytes say nothing of their type
    """Return what `data` holds, without a type. Raise ValueError when it is not msgpack."""
    try:
        return _untyped.decode(data)
    except UNREADABLE as exc:
        raise ValueError(misfit(exc, "value")[1]) from exc


def decode_as(data: bytes, kind: type[T]) -> T:
    """Return what `data` holds as `kind`. Raise TypeError, beginning with the path, when it does not fit."""
    annotation: Any = kind
    try:
        return cast("T", decoder_of(annotation).decode(data))
    except UNREADABLE as exc:
        raise TypeError(misfit(exc, "value")[1]) from exc


def new_decoder(annotation: Any) -> msgpack.Decoder[Any]:
    """Return a msgpack decoder of any annotation. Raise TypeError when msgspec cannot tell its parts apart."""
    return msgpack.Decoder(annotation, dec_hook=decode_hook, ext_hook=unpack_extension)


def new_json_decoder(annotation: Any) -> msgspec.json.Decoder[Any]:
    """Return a JSON decoder of any annotation; bytes are padded standard base64, arrays nested lists."""
    return msgspec.json.Decoder(annotation, dec_hook=decode_json_hook)


@lru_cache(maxsize=1024)
def decoder_of(annotation: Any) -> msgpack.Decoder[Any]:
    """Return the decoder of an annotation, made once."""
    return new_decoder(annotation)


def check_json_depth(data: bytes | memoryview) -> None:
    """Raise ValueError when JSON nests deeper than MAX_DEPTH."""
    brackets = bytes(data).translate(None, _NO_BRACKETS)
    if len(brackets) <= 2 * MAX_DEPTH:
        return
    steps = array("b", _JSON_STRING.sub(b"", bytes(data)).translate(_STEPS, _NO_BRACKETS))
    depth = 0
    # A piece at a time, so that a large input lets other threads run, and a deep one is refused at once. What is no
    # JSON may count wrongly, but only behind the place at which a parser stops.
    for start in range(0, len(steps), _STEPS_AT_A_TIME):
        depths = list(accumulate(steps[start : start + _STEPS_AT_A_TIME], initial=depth))
        if max(depths) > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        depth = depths[-1]


def fingerprint(*parts: bytes) -> bytes:
    """Return the SHA-256 of the parts in order; each is counted with its length, so that no two lists collide."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def misfit(exc: BaseException, root: str) -> tuple[str, str]:
    """Return (path, message) of a decoder's error: `("input.a[1]", "input.a[1]: expected int, got str")`."""
    if isinstance(exc, RecursionError):
        return root, f"{root}: nested too deep"
    if not isinstance(exc, msgspec.ValidationError):
        return root, f"{root}: {_lowered(str(exc))}"
    text, *where = _WHERE.split(str(exc))
    path = root + (where[0] if where else "")
    cause = exc.__cause__
    if isinstance(cause, HookError):
        return path + cause.path, f"{path}{cause.path}: {cause}"
    for opening, answer in _FIELD_ERRORS:
        if text.startswith(opening):
            path = f"{path}.{text.removeprefix(opening).split('`')[0]}"
            return path, f"{path}: {answer}"
    return path, f"{path}: {_plain(text)}"


def why_unencodable(exc: BaseException) -> str:
    """Return an encoder's error in the words of this library."""
    if isinstance(exc, RecursionError):
        return "nested too deep to be encoded"
    if isinstance(exc, OverflowError):
        return "an integer beyond 64 bits cannot be encoded"
    if isinstance(exc, UnicodeEncodeError):
        return "a lone surrogate in a text cannot be encoded"
    return str(exc)


def find_unencodable(value: Any, path: str, cause: BaseException) -> tuple[str, str]:
    """Return (path, reason) of the innermost part that cannot be encoded; encode errors carry no path themselves."""
    if isinstance(cause, RecursionError):
        return path, why_unencodable(cause)
    for step, part in _parts_of(value):
        try:
            encoder.encode(part)
        except UNENCODABLE as exc:
            return find_unencodable(part, path + step, exc)
    return path, why_unencodable(cause)


def _parts_of(value: Any) -> Iterator[tuple[str, Any]]:
    if is_dict(value):
        yield from ((f".{name}" if isinstance(name, str) else f"[{name!r}]", part) for name, part in value.items())
    elif is_list(value):
        yield from ((f"[{position}]", part) for position, part in enumerate(value))
    else:
        names: Any = getattr(value, "__struct_fields__", None) or getattr(value, "__dataclass_fields__", ())
        yield from ((f".{name}", getattr(value, name)) for name in names)


def is_dict(value: object) -> TypeGuard[dict[Any, Any]]:
    """As isinstance, but both type checkers agree on what stands inside."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """As isinstance of list and tuple, but both type checkers agree on what stands inside."""
    return isinstance(value, (list, tuple))


_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
"""A bracket as what it adds to the depth: 1 or, as a signed byte, -1."""
_STEPS_AT_A_TIME = 65_536
_JSON_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_WHERE = re.compile(r" - at (?:`key` in )?`\$(.*)`$")
_SHOWS_VALUE = re.compile(r"Invalid (?:enum )?value ")
_FIELD_ERRORS = (("Object missing required field `", "missing"), ("Object contains unknown field `", "unknown name"))
_WORDS = {"null": "None", "array": "list", "object": "mapping"}


def _plain(text: str) -> str:
    """Undress msgspec's message: no back ticks, Python's names for JSON's types, and nothing of the value."""
    if _SHOWS_VALUE.match(text):
        return "not one of the values that are expected"
    quoted = re.sub(
        r"`([^`]*)`", lambda found: re.sub(r"\w+", lambda word: _WORDS.get(word[0], word[0]), found[1]), text
    )
    return _lowered(quoted)


def _lowered(text: str) -> str:
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
