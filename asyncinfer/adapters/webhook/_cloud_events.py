"""CloudEvents 1.0 over HTTP, for registered endpoints that ask for it: the same events, written otherwise.

https://github.com/cloudevents/spec: `spec.md`, `bindings/http-protocol-binding.md`, `formats/json-format.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from asyncinfer.adapters.webhook._envelope import instant, instant_of
from asyncinfer.adapters.webhook._registered import Format

DEFAULT_SOURCE = "urn:asyncinfer:webhooks"
"""Where no `public_base_url` is known at the registration."""
TYPE_PREFIX = "asyncinfer."
"""Before the event's name. CloudEvents would rather see a domain's reverse: none stands for every sender."""
_SAFE = "".join(set(map(chr, range(0x21, 0x7F))) - set('"%'))
"""What a header may show of an attribute as it is: section 3.1.3.2 of the binding."""


class _Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: Literal["application/json"]
    truncated: bool = False
    data: Raw


class _Envelope(Struct):
    type: str
    timestamp: str
    data: Raw
    truncated: bool = False


class _Data(Struct):
    """What is read of an event's data to say what it is about."""

    object: str = ""
    id: str = ""
    endpoint: str = ""
    created_at: Raw | UnsetType = UNSET
    output: Raw | UnsetType = UNSET


def body_in(form: Format, source: str, message_id: str, body: bytes) -> bytes:
    """Return the bytes of an event in a form, given those of its envelope. They are made once, and stored."""
    if form == "standard":
        return body
    envelope = _envelope.decode(body)
    if form == "cloudevents-binary":
        return bytes(envelope.data)
    return _encode(
        _Event(
            specversion="1.0",
            id=message_id,
            source=source,
            type=TYPE_PREFIX + envelope.type,
            subject=_subject(_data.decode(envelope.data)),
            time=envelope.timestamp,
            datacontenttype="application/json",
            truncated=envelope.truncated,
            data=envelope.data,
        )
    )


def headers_in(form: Format, source: str, message_id: str, event: str, body: bytes) -> Mapping[str, str]:
    """Return the headers that say what a body is: the same for every attempt at it."""
    if form == "standard":
        return {"content-type": "application/json"}
    if form == "cloudevents-structured":
        return {"content-type": "application/cloudevents+json"}
    data = _data.decode(body)
    attributes = {
        "specversion": "1.0",
        "id": message_id,
        "source": source,
        "type": TYPE_PREFIX + event,
        "subject": _subject(data),
        "time": msgspec.to_builtins(instant(instant_of(message_id))),
        **({"truncated": "true"} if _is_thin(data) else {}),
    }
    told = {f"ce-{name}": quote(value, safe=_SAFE) for name, value in attributes.items()}
    return {"content-type": "application/json", **told}


def _subject(data: _Data) -> str:
    """Return the job or the endpoint that an event is about."""
    return data.endpoint or data.id


def _is_thin(data: _Data) -> bool:
    """Tell whether data only names a job, and every whole one says when it was created, or has no values of output."""
    if data.object == "output":
        return data.output == _NO_VALUES
    return data.object == "job" and data.created_at is UNSET


_NO_VALUES = Raw(b"[]")
_encode = msgspec.json.Encoder().encode
_envelope = msgspec.json.Decoder(_Envelope)
_data = msgspec.json.Decoder(_Data)
