"""An anonymous service is for programs of this machine, not for the web pages that are open on it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
BODY = b'{"type":"about:blank","title":"Web pages of other origins are not let in","status":403}'


class LocalOnly:
    """Answers 403 when Host or Origin names another machine.

    A page of any origin can make its browser send a POST here (only reading the answer is forbidden to it), and after
    it has pointed its own name at 127.0.0.1 it can read too; then its name stands in Host.
    """

    def __init__(self, app: ASGIApp, *hosts: str) -> None:
        self._app = app
        self._hosts = LOCAL | {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not all(self._is_local(name, value) for name, value in scope["headers"]):
            headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(BODY))]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": BODY})
            return
        await self._app(scope, receive, send)

    def _is_local(self, name: bytes, value: bytes) -> bool:
        if name not in (b"host", b"origin"):
            return True
        text = value.decode("latin-1")
        try:
            host = urlsplit(text if name == b"origin" else f"//{text}").hostname
        except ValueError:
            return False
        return host in self._hosts
