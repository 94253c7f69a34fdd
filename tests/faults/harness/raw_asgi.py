"""One request straight into an ASGI application: no client stands between that would mend it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, Literal
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct
from starlette.types import ASGIApp, Message, Scope

Headers = Sequence[tuple[bytes, bytes]]
Ending = Literal["ends", "never", "leaves"]
STAYS_SECONDS = 0.02
"""How long a client stays that has sent everything and reads for ever."""


class Request(Struct, frozen=True, kw_only=True):
    """What is sent. `path` is percent-encoded, as on the wire."""

    method: str = "GET"
    path: bytes = b"/"
    query: bytes = b""
    headers: Headers = ()
    body: Sequence[bytes] = ()
    ending: Ending = "ends"
    """Whether the body ends, says that it goes on and does not, or its sender leaves in it."""


class Answer(Struct, frozen=True):
    """What came back; status 0 and a word for what no answer may be."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    defect: str = ""

    def header(self, name: bytes) -> bytes:
        return dict(self.headers).get(name, b"")

    def json(self) -> Any:  # Any: whatever was sent
        return msgspec.json.decode(self.body)


async def ask(app: ASGIApp, request: Request) -> Answer:
    """Return the answer. Raises what the application raises."""
    client = _Client(request)
    await app(_scope(request), client.receive, client.send)
    return client.answer()


class _Client:
    def __init__(self, request: Request) -> None:
        self._request = request
        self._parts = list(request.body) or [b""]
        self._sent: list[Message] = []

    async def receive(self) -> Message:
        if self._parts:
            part = self._parts.pop(0)
            more = bool(self._parts) or self._request.ending != "ends"
            return {"type": "http.request", "body": part, "more_body": more}
        if self._request.ending == "never":
            await asyncio.Event().wait()
        if self._request.ending == "ends":
            await asyncio.sleep(STAYS_SECONDS)
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self._sent.append(message)

    def answer(self) -> Answer:
        if not self._sent and self._request.ending == "leaves":
            return Answer(0)  # nobody is there to be answered
        if [one["type"] for one in self._sent[:2]] != ["http.response.start", "http.response.body"]:
            return Answer(0, defect="no answer")
        start, *parts = self._sent
        body = b"".join(part.get("body", b"") for part in parts)
        answer = Answer(start["status"], start["headers"], body)
        if parts[-1].get("more_body", False):
            return answer if self._has_left(answer) else msgspec.structs.replace(answer, defect="no end")
        return msgspec.structs.replace(answer, defect=self._defect(answer))

    def _has_left(self, answer: Answer) -> bool:
        return answer.header(b"content-type").startswith(b"text/event-stream")

    def _defect(self, answer: Answer) -> str:
        if any(_SPLITS.search(name + text) for name, text in answer.headers):
            return "a header that splits the answer"
        length = answer.header(b"content-length")
        if length and self._request.method != "HEAD" and int(length) != len(answer.body):
            return "a wrong length"
        if answer.status >= 400 and self._request.method != "HEAD" and not _is_problem(answer):
            return "an error that is no problem document"
        return ""


_SPLITS = re.compile(rb"[\r\n\0]")


def _is_problem(answer: Answer) -> bool:
    if answer.header(b"content-type") == b"application/json":
        return answer.status == 503  # health
    is_problem: bool = answer.json()["status"] == answer.status
    return is_problem


def _scope(request: Request) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote_to_bytes(request.path).decode("utf-8", "surrogateescape"),
        "raw_path": request.path,
        "query_string": request.query,
        "root_path": "",
        "headers": list(request.headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
