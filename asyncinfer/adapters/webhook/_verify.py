"""Verify a webhook where it arrives. Needs nothing but Python for `v1`, and `cryptography` for `v1a`."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Mapping, Sequence

from asyncinfer.adapters.webhook._key_pair import PRIVATE_PREFIX, PUBLIC_PREFIX, PublicKey
from asyncinfer.adapters.webhook._key_text import from_base64
from asyncinfer.adapters.webhook._secrets import SECRET_PREFIX, Secret
from asyncinfer.adapters.webhook._signing import ID, SIGNATURE, TIMESTAMP, hmac_signature, signed_bytes
from asyncinfer.adapters.webhook.errors import SignatureInvalid
from asyncinfer.errors import InvalidOption

MAX_SIGNATURES = 16
"""More than any rotation needs; each is checked with each key, and an ed25519 check takes 0.2 ms."""


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secrets: str | Sequence[str],
    *,
    tolerance: float = 300.0,
    now: float | None = None,
) -> None:
    """Return if a signature is by one of the secrets and the timestamp within `tolerance` seconds of now.

    `body` is what arrived, byte for byte: JSON that was parsed and written again has another signature. Header names
    may have any case. `secrets` are `whsec_…` (v1) or `whpk_…` (v1a): while yours is rotated, the new and the old one.
    The id, `headers["webhook-id"]`, is the same at every attempt: whoever keeps it sees no event twice.

    Whatever the request is, nothing but SignatureInvalid is raised. InvalidOption or MissingExtra is the receiver's own
    mistake: a secret that is none, a body that is no bytes, `whpk_…` without `cryptography`.
    """
    if not isinstance(body, (bytes, bytearray, memoryview)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidOption(f"body: expected the raw bytes of the request, got {type(body).__name__}")
    keys = _keys(secrets)
    message_id = _header(headers, ID, _PRINTABLE_WITHOUT_DOT)
    timestamp = _header(headers, TIMESTAMP, _SECONDS)
    signatures = _header(headers, SIGNATURE, _PRINTABLE_WORDS).split(" ")
    _check_age(int(timestamp), time.time() if now is None else now, tolerance)
    if len(signatures) > MAX_SIGNATURES:
        raise SignatureInvalid(f"{SIGNATURE}: more than {MAX_SIGNATURES} signatures")
    message = signed_bytes(message_id, timestamp, body)
    if not any(_has_signed(key, message, signatures) for key in keys):
        raise SignatureInvalid(f"message {message_id}: no signature is by any of the {len(keys)} secrets given")


# A dot in the id would let one signed message be read as another.
_PRINTABLE_WITHOUT_DOT = re.compile(r"[!-\-/-~]{1,255}")
_SECONDS = re.compile(r"[0-9]{1,12}")
_PRINTABLE_WORDS = re.compile(r"[ -~]+")


def _keys(secrets: str | Sequence[str]) -> list[Secret | PublicKey]:
    keys = [_key(text) for text in ((secrets,) if isinstance(secrets, str) else secrets)]
    if not keys:
        raise InvalidOption("secrets: expected at least one")
    return keys


def _key(text: str) -> Secret | PublicKey:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidOption(f"secrets: expected str, got {type(text).__name__}")
    if text.startswith(PUBLIC_PREFIX):
        return PublicKey.parse(text)
    if text.startswith(PRIVATE_PREFIX):
        raise InvalidOption(f"secrets: {PRIVATE_PREFIX} is the sender's own key; a receiver has {PUBLIC_PREFIX}")
    if not text.startswith(SECRET_PREFIX):
        raise InvalidOption(f"secrets: expected {SECRET_PREFIX} or {PUBLIC_PREFIX} and base64")
    return Secret.parse(text)


def _header(headers: Mapping[str, str], name: str, expected: re.Pattern[str]) -> str:
    """Return the header's one value. Two would let a proxy check one while the receiver reads the other."""
    # str(): some frameworks hand over bytes or None, which then fit no pattern or no signature.
    values = [str(value) for key, value in headers.items() if str(key).lower() == name]
    if len(values) != 1:
        raise SignatureInvalid(f"{name}: expected one such header, got {len(values)}")
    if not expected.fullmatch(values[0]):
        raise SignatureInvalid(f"{name}: malformed")
    return values[0]


def _check_age(timestamp: int, now: float, tolerance: float) -> None:
    age = now - timestamp
    # Not `abs(age) > tolerance`, which would let a NaN pass.
    if not abs(age) <= tolerance:
        when = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s ahead of this clock"
        raise SignatureInvalid(f"{TIMESTAMP}: {when}, {tolerance:g} s are tolerated")


def _has_signed(key: Secret | PublicKey, message: bytes, signatures: Sequence[str]) -> bool:
    if isinstance(key, Secret):
        expected = hmac_signature(key, message).encode("ascii")
        return any(hmac.compare_digest(expected, signature.encode("ascii")) for signature in signatures)
    versions = (signature.partition(",") for signature in signatures)
    candidates = (from_base64(encoded) for version, _, encoded in versions if version == "v1a")
    return any(key.has_signed(message, candidate) for candidate in candidates if candidate is not None)
