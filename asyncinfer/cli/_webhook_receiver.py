"""An ASGI application that receives webhooks and verifies each: for development, and for the demo."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from asyncinfer.adapters.webhook import SignatureInvalid, verify

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

ORIGIN = "webhook-request-origin"
TYPE_PREFIX = "asyncinfer."
"""What the types of CloudEvents have before the name of the event."""
MAX_BODY_BYTES = 1024 * 1024
"""The sender's have 20 kB at most."""


class Heard(Struct, frozen=True, kw_only=True):
    """A POST that has arrived. What is not verified may be anybody's."""

    at: float
    """Seconds since 1970 UTC."""
    path: str
    """As it was sent, with the query."""
    id: str
    body: bytes
    event: str = ""
    """As Standard Webhooks or CloudEvents name it."""
    why: str = ""
    """Why it is not verified, or empty."""

    @property
    def is_verified(self) -> bool:
        return not self.why


class _Challenge(Struct):
    challenge: str


class _Typed(Struct):
    type: str = ""


class _Told(Struct):
    data: _Challenge


class WebhookReceiver:
    """Hands each webhook to `hear`, then answers 200, or 401 when no signature is by one of the secrets.

    A verified challenge is answered with its echo, and the handshake of CloudEvents with leave to send at any rate.
    Raises InvalidOption for a secret that is none.
    """

    def __init__(self, secrets: Sequence[str], hear: Callable[[Heard], None]) -> None:
        with contextlib.suppress(SignatureInvalid):
            verify(b"", {}, secrets)  # it judges the secrets first
        self._secrets = secrets
        self._hear = hear

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _joined(scope["headers"])
        if scope["method"] == "OPTIONS" and ORIGIN in headers:
            return await _answer(send, 200, b"", _leave_for(headers[ORIGIN]))
        if scope["method"] != "POST":
            return await _answer(send, 405, b"webhooks are sent by POST\n", [(b"allow", b"POST")])
        body = await _body(receive)
        if body is None:
            return await _answer(send, 413, b"a webhook has 1 MiB at most here\n", [(b"connection", b"close")])
        heard = self._heard(scope, headers, body)
        self._hear(heard)
        if not heard.is_verified:
            return await _answer(send, 401, f"{heard.why}\n".encode())
        return await _answer(send, 200, _echo(heard))

    def _heard(self, scope: Scope, headers: Mapping[str, str], body: bytes) -> Heard:
        why = ""
        try:
            verify(body, headers, self._secrets)
        except SignatureInvalid as error:
            why = str(error)
        query = scope["query_string"]
        path = scope["raw_path"] + (b"?" + query if query else b"")
        return Heard(
            at=time.time(),
            path=path.decode("latin-1"),
            id=headers.get("webhook-id", ""),
            body=body,
            event=_event(headers, body),
            why=why,
        )


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Return the headers, those that came several times as one list, as HTTP has it: then `verify` refuses them."""
    joined: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


async def _body(receive: Receive) -> bytes | None:
    """Return the whole body, as much as came of one whose sender has left; None for one that is too large."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            return None
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return bytes(body)


def _event(headers: Mapping[str, str], body: bytes) -> str:
    """Return the name of the event, by a header where CloudEvents are binary; empty where there is none."""
    if "ce-type" in headers:
        return headers["ce-type"].removeprefix(TYPE_PREFIX)
    try:
        return msgspec.json.decode(body, type=_Typed).type.removeprefix(TYPE_PREFIX)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _echo(heard: Heard) -> bytes:
    if heard.event != "webhook.verification":
        return b""
    for kind in (_Told, _Challenge):
        with contextlib.suppress(msgspec.DecodeError):
            asked = msgspec.json.decode(heard.body, type=kind)
            return msgspec.json.encode(asked.data if isinstance(asked, _Told) else asked)
    return b""


def _leave_for(origin: str) -> Sequence[tuple[bytes, bytes]]:
    return [
        (b"allow", b"POST"),
        (b"webhook-allowed-origin", origin.encode("latin-1")),
        (b"webhook-allowed-rate", b"*"),
    ]


async def _answer(send: Send, status: int, body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
    content = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*content, *headers]})
    await send({"type": "http.response.body", "body": body})
