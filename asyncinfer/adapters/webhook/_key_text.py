"""The text of a key, as Standard Webhooks writes it: a prefix that says what it is, then standard padded base64.

Only the one canonical text of some bytes is read: receivers differ in what else they take, and one real verifier splits
a secret at `_`, which the URL-safe alphabet has. No message shows the text.
"""

from __future__ import annotations

import base64
import binascii

from asyncinfer.errors import InvalidOption


def write_key(prefix: str, raw: bytes) -> str:
    return prefix + to_base64(raw)


def read_key(text: str, prefix: str, what: str) -> bytes:
    """Return the bytes. Raises InvalidOption, which says by `what` whose text it was."""
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidOption(f"{what}: expected a str, got {type(text).__name__}")
    if not text.startswith(prefix):
        raise InvalidOption(f"{what}: expected {prefix} and base64; it does not begin with {prefix}")
    raw = from_base64(text.removeprefix(prefix))
    if raw is None:
        raise InvalidOption(f"{what}: expected {prefix} and standard padded base64; {_flaw(text.removeprefix(prefix))}")
    return raw


def to_base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def from_base64(text: str) -> bytes | None:
    """Return the bytes whose canonical base64 this is, or None."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if to_base64(raw) == text else None


def _flaw(encoded: str) -> str:
    if any(map(str.isspace, encoded)):
        return "it has white space"
    if "-" in encoded or "_" in encoded:
        return "it has characters of the URL-safe alphabet"
    if from_base64(encoded + "=" * (-len(encoded) % 4)) is not None:
        return "its padding (=) is missing"
    return "it is not base64"
