"""How a webhook's URL is refused: by the kind of its fault, and never by what a look-up found."""

from __future__ import annotations

from typing import Literal, final

from asyncinfer.errors import AsyncinferError

RejectedKind = Literal["form", "scheme", "characters", "userinfo", "host", "port", "address", "dns"]


@final
class UrlRejected(AsyncinferError, ValueError):
    """A webhook may not go there. Neither message nor repr shows the URL or an address: both go to whoever asked."""

    def __init__(self, kind: RejectedKind) -> None:
        super().__init__(f"the webhook URL was refused ({kind}): {_MEANINGS[kind]}")
        self.kind: RejectedKind = kind


_MEANINGS: dict[RejectedKind, str] = {
    "form": "expected an absolute URL of at most 2048 characters, without a fragment",
    "scheme": "expected https",
    "characters": "it has a character that a URL does not have there",
    "userinfo": "expected no user and password",
    "host": "expected a public host name or an address in its usual notation",
    "port": "this port is not open for webhooks; by default 443 and 8443 are",
    "address": "its host is not, or not only, at public addresses",
    "dns": "its host has no address now",
}
