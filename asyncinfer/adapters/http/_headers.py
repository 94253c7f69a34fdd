"""What request headers ask for: preferences, keys, entity tags, forms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

from asyncinfer.adapters.http._problems import invalid

_KEY = re.compile(r"[ -~]{1,255}")
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ETAG = re.compile(r'(?:W/)?"([^"]*)"')
_WAIT = re.compile(r"wait\s*=\s*\"?(\d{1,9})\"?", re.IGNORECASE)


class Preference(Struct, frozen=True):
    """What `Prefer` (RFC 7240) asks of a submit."""

    wait: float
    """Seconds to wait for the ending; 0: answer at once."""
    applied: bytes
    """For `Preference-Applied`; empty when nothing was asked."""


def header_lines(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name, lower case; several lines of one are one list (RFC 9110, section 5.3)."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found[name] = found[name] + b", " + value if name in found else value
    return found


def preference(headers: Mapping[bytes, bytes], longest: float) -> Preference:
    """Return the preference; as the RFC asks, what is not understood is ignored."""
    asked = headers.get(b"prefer")
    if asked is None:
        return Preference(0.0, b"")
    tokens = [token.strip() for token in asked.decode("latin-1").split(",")]
    for token in tokens:
        found = _WAIT.fullmatch(token)
        if found is not None:
            seconds = min(int(found[1]), int(longest))
            return Preference(float(seconds), b"wait=%d" % seconds)
    is_async = any(token.lower() == "respond-async" for token in tokens)
    return Preference(0.0, b"respond-async" if is_async else b"")


def idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the `Idempotency-Key`, quoted or bare, or None. Raise a Problem."""
    given = headers.get(b"idempotency-key")
    if given is None:
        return None
    key = given.decode("latin-1").strip()
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if _KEY.fullmatch(key) is None:
        raise invalid("Idempotency-Key", "expected 1 to 255 printable ASCII characters")
    return key


def traceparent(headers: Mapping[bytes, bytes]) -> str | None:
    """Return a valid W3C `traceparent`; a broken one is ignored, as the specification asks."""
    given = headers.get(b"traceparent", b"").decode("latin-1")
    return given if _TRACEPARENT.fullmatch(given) else None


def etag_of(revision: int) -> bytes:
    """Return a job's entity tag: weak, since a position in the queue changes without a revision."""
    return b'W/"%d"' % revision


def known_revisions(headers: Mapping[bytes, bytes]) -> list[int]:
    """Return the revisions that `If-None-Match` names."""
    given = headers.get(b"if-none-match", b"").decode("latin-1")
    return [int(tag) for tag in _ETAG.findall(given) if tag.isascii() and tag.isdigit() and len(tag) < 19]


def accepts(headers: Mapping[bytes, bytes], media_type: str) -> bool:
    """Tell whether `Accept` names this media type itself, whatever its weight but 0."""
    for part in headers.get(b"accept", b"").decode("latin-1").split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        if name == media_type and not any(re.fullmatch(r"q=0(\.0*)?", parameter) for parameter in parameters):
            return True
    return False
