"""What a flow asks of the network, and what it hears: the records between the rules and the two shells.

A flow is a generator. It yields an effect, a shell does it and sends back what came of it: an Answer or a Failure for
Send, bytes or a Failure for Read, nothing for Wait and Give. So every rule is written once, without any I/O.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")


class Request(Struct, frozen=True, kw_only=True):
    """One HTTP request; nothing secret stands in its path or query, since both are logged everywhere."""

    method: str
    path: str
    """Below the service's root, percent-encoded."""
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = msgspec.field(default_factory=dict[str, str])
    body: bytes | None = None
    hold: float = 0.0
    """Seconds that the service may wait before it answers."""
    repeatable: Literal["always", "unless_read"] = "always"
    """`unless_read`: once it may have been read, only a refusal that says so proves that nothing was done."""


class Answer(Struct, frozen=True, kw_only=True):
    """A response. Of an open stream `body` is still empty: Read gives its parts."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes = b""

    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Failure(Struct, frozen=True, kw_only=True):
    """No response, or not all of it."""

    reason: str
    """In words that are safe to show."""
    is_sent: bool
    """The service may have read the request."""
    cause: Exception | None = None


class Send(Struct, frozen=True, kw_only=True):
    """Send a request; give back its Answer or a Failure. It closes the stream that was open."""

    request: Request
    connect: float
    """Seconds until there must be a connection."""
    silence: float
    """The longest that nothing may be heard, in seconds."""
    queue: float
    """Seconds that it may wait for one of the client's own connections."""
    is_stream: bool = False
    """Leave the body of a 200 open, for Read."""


class Read(Struct, frozen=True):
    """Give back the next part of the open stream: bytes, empty at its end, or a Failure."""


class Wait(Struct, frozen=True):
    seconds: float


class Give(Struct, frozen=True):
    """Hand a value to whoever iterates."""

    value: Any  # Any: an event or what a model yielded; the face of the client casts it


Effect = Send | Read | Wait | Give
Flow: TypeAlias = Generator[Effect, Any, T]  # Any: what is sent back depends on the effect; `send` and `read` narrow it


def send(effect: Send) -> Flow[Answer | Failure]:
    outcome: Answer | Failure = yield effect
    return outcome


def read() -> Flow[bytes | Failure]:
    outcome: bytes | Failure = yield Read()
    return outcome
