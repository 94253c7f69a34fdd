"""How one attempt at a delivery went, in the words of the delivery log."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Literal, final

from httpcore import ConnectError, ConnectTimeout, ProxyError, ReadError, RemoteProtocolError, WriteError

from asyncinfer.adapters.webhook._network import AnswerTooLong, TlsFailed
from asyncinfer.adapters.webhook._url_rejected import UrlRejected

Kind = Literal["delivered", "dns", "blocked", "connect", "tls", "timeout", "status", "redirect"]
NETWORK_FAILURES = (ConnectError, ConnectTimeout, ProxyError, ReadError, RemoteProtocolError, WriteError)
"""What httpcore raises because of the other side."""
LONGEST_DETAIL = 200


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What came of one request. The status decides as soon as the head is there, whatever becomes of the body."""

    kind: Kind
    """`connect`: no connection, or one that broke before an answer. `status`: not 2xx, or no HTTP at all."""
    status: int | None = None
    retry_after: float | None = None
    """Seconds, as `Retry-After` asks for them, or between its date and that of the answer."""
    allowed_origin: str | None = None
    """`WebHook-Allowed-Origin`, for the handshake of CloudEvents."""
    body: bytes = field(default=b"", repr=False)
    """As much as came, 64 KiB with the head at most. For an ownership check; it is never logged."""
    latency: int = 0
    """Milliseconds from the look-up of the host to the end of the answer."""
    detail: str = ""
    """For the log: no URL, no resolved address, nothing that the receiver wrote."""

    @property
    def is_delivered(self) -> bool:
        return self.kind == "delivered"


def seconds_of(retry_after: str | None, date: str | None) -> float | None:
    """Return the seconds of a `Retry-After`. A date counts from the answer's own `Date`: clocks differ."""
    if retry_after is None or _SECONDS.fullmatch(retry_after):
        return None if retry_after is None else float(retry_after)
    try:
        until, now = parsedate_to_datetime(retry_after), parsedate_to_datetime(date or "")
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):  # no date, or one without a zone
        return None


def kind_of_status(status: int) -> Kind:
    if 200 <= status < 300:
        return "delivered"
    return "redirect" if 300 <= status < 400 else "status"


def kind_of_failure(error: Exception) -> tuple[Kind, str]:
    """Return the kind of a failure before an answer's head, and words for the log."""
    match error:
        case UrlRejected():
            return ("dns" if error.kind == "dns" else "blocked"), error.kind
        case ConnectTimeout():
            return "timeout", "no connection in time"
        case TlsFailed():
            return "tls", error.detail[:LONGEST_DETAIL]
        case ConnectError():
            return "connect", "no connection"
        case ProxyError():
            return "connect", "the egress proxy refused to connect"
        case AnswerTooLong():
            return "status", "no HTTP answer in the first 64 KiB"
        case RemoteProtocolError(args=(Exception(), *_)):  # h11's; an early end is httpcore's own, with a text
            return "status", "what came is not HTTP"
        case _:
            return "connect", "the connection broke before an answer"


_SECONDS = re.compile(r"[0-9]{1,9}")
