"""One request on its way through: who asks, what for, and how it is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct
from starlette.types import Receive, Scope, Send

from asyncinfer import Job, JobManager, ScopedManager, wire
from asyncinfer._offload import offload
from asyncinfer._weight import HEAVY_BYTES
from asyncinfer.adapters._job_answer import JobAnswers
from asyncinfer.adapters.http._access import Action, Authenticate, Authorize, Principal
from asyncinfer.adapters.http._bounds import Bounds
from asyncinfer.adapters.http._problems import invalid, problem
from asyncinfer.adapters.http._rate_limit import Headers, RateLimiter
from asyncinfer.adapters.http._room import Room, Share
from asyncinfer.adapters.http._strict_json import NotStrict, check_strict_json
from asyncinfer.adapters.prometheus import PrometheusTelemetry

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import WebhookSender

T = TypeVar("T")

JSON_TYPE = b"application/json"
PROBLEM_TYPE = b"application/problem+json"
_encoder = msgspec.json.Encoder()
_ENVELOPE_BYTES = 64 * 1024
"""What a submit may have besides its input and metadata."""
_LARGE_BYTES = 64 * 1024
"""Of a body that takes its room; a server keeps as much of every connection unasked."""


class Answer(Struct, frozen=True):
    """A whole response."""

    status: int
    body: bytes = b""
    headers: Sequence[tuple[bytes, bytes]] = ()

    async def send(self, send: Send, *, is_head: bool = False) -> None:
        headers = [*self.headers]
        if self.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(self.body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if is_head else self.body})


class Responds(Protocol):
    """An Answer, or a stream of one."""

    async def send(self, send: Send, *, is_head: bool = False) -> None: ...


def answer(value: object, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """Return a JSON answer."""
    return Answer(status, _encoder.encode(value), [(b"content-type", JSON_TYPE), *headers])


def problem_answer(document: wire.Problem, headers: Sequence[tuple[bytes, bytes]]) -> Answer:
    """Return a problem document as the answer."""
    return Answer(document.status, _encoder.encode(document), [(b"content-type", PROBLEM_TYPE), *headers])


class Service:
    """What all requests of one application share."""

    def __init__(
        self,
        manager: JobManager,
        *,
        base_url: str,
        authenticate: Authenticate | None,
        authorize: Authorize | None,
        limiter: RateLimiter | None,
        metrics: PrometheusTelemetry,
        webhooks: WebhookSender | None,
        bounds: Bounds,
        debug: bool,
    ) -> None:
        self.manager = manager
        self.base_url = base_url
        self.authenticate = authenticate
        self.authorize = authorize
        self.limiter = limiter
        self.metrics = metrics
        self.webhooks = webhooks
        self.bounds = bounds
        self.room = Room(bounds.bodies_bytes)
        self._anonymous: ScopedManager = manager.scoped("")
        self.jobs = JobAnswers(base_url, debug=debug)
        self._draining: asyncio.Task[None] | None = None

    def jobs_of(self, owner: str) -> ScopedManager:
        """Return an owner's jobs; the empty owner is everybody of an application without names."""
        return self.manager.scoped(owner) if owner else self._anonymous

    def draining(self) -> asyncio.Task[None]:
        """Return a task that is done once the manager drains: whoever waits for news should be sent away."""
        if self._draining is None or self._draining.done():
            self._draining = asyncio.create_task(self.manager.wait_draining(), name="asyncinfer-http-draining")
        return self._draining


class Call:
    """One request."""

    def __init__(self, service: Service, scope: Scope, receive: Receive, headers: Mapping[bytes, bytes]) -> None:
        self.service = service
        self.scope = scope
        self.headers = headers
        """By name, lower case; see `header_lines`."""
        self.receive = receive
        self.principal: Principal | None = None
        self.owned: ScopedManager = service.manager
        """The jobs of who asks; set once that is known."""
        self.rate_headers: Headers = []

    @property
    def path(self) -> Mapping[str, str]:
        """The parts of the path that the route names."""
        found: Mapping[str, str] = self.scope["path_params"]
        return found

    def now(self) -> int:
        """Return the wall time in milliseconds."""
        return time.time_ns() // 1_000_000

    def query(self, *known: str, prefix: str | None = None) -> dict[str, str]:
        """Return the query parameters, each given once at most. Raise a Problem for one that is not known."""
        text = self.scope["query_string"].decode("latin-1")
        if not text:
            return {}
        try:
            pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=64)
        except ValueError:
            raise problem("malformed-request", "the query string is not UTF-8, or has over 64 parameters") from None
        found: dict[str, str] = {}
        for name, value in pairs:
            if name not in known and not (prefix is not None and name.startswith(prefix)):
                raise invalid(name, f"unknown query parameter; known are {', '.join(known) or 'none'}")
            if name in found:
                raise invalid(name, "given twice")
            if "\0" in name or "\0" in value:
                raise invalid(name, "holds a NUL")
            found[name] = value
        return found

    async def may(self, action: Action, job: Job | None = None) -> None:
        """Raise a Problem unless the principal is allowed to."""
        authorize = self.service.authorize
        if authorize is None or self.principal is None:
            return
        if not await authorize(self.principal, action, job):
            raise problem("forbidden")

    async def may_with_job(self, action: Action, job_id: str) -> None:
        """As `may`, for actions that need not read the job for themselves."""
        if self.service.authorize is not None:
            await self.may(action, await self.owned.get(job_id))

    @asynccontextmanager
    async def json_body(self) -> AsyncGenerator[bytes]:
        """Lend a body of strict JSON; when the block ends, nothing should hold it any more. Raise a Problem."""
        media_type, _, parameters = self.headers.get(b"content-type", b"").decode("latin-1").partition(";")
        charset = parameters.replace('"', "").strip().lower()
        if media_type.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
            raise problem("unsupported-media-type", "send application/json")
        if self.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise problem("unsupported-media-type", "send it without a content encoding")
        limits = self.owned.limits
        # Bytes of the input travel as base64, and any character may be written as an escape.
        longest = 2 * (limits.input_bytes + limits.metadata_bytes) + _ENVELOPE_BYTES
        declared = self.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:18]) > longest:
            raise _too_large(longest)
        with self.service.room.share() as share:
            data = await self._body(longest, share)
            try:
                if len(data) > HEAVY_BYTES:
                    await offload(check_strict_json, data)
                else:
                    check_strict_json(data)
            except NotStrict as error:
                raise problem("malformed-request", str(error)) from None
            yield data

    async def _body(self, longest: int, share: Share) -> bytes:
        parts: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.service.bounds.body_seconds):
                while True:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    part = message.get("body", b"")
                    size += len(part)
                    if size > longest:
                        raise _too_large(longest)
                    if size > _LARGE_BYTES:
                        await share.grow(size)
                    parts.append(part)
                    if not message.get("more_body", False):
                        return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError:
            raise problem("request-timeout", "the body did not arrive in time", headers=[CLOSE]) from None

    async def while_connected(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what `work` gives, None when the manager drains first. Raise ClientGone when the client leaves first.

        The request's body has to be read before.
        """
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self.disconnected())
        draining = self.service.draining()
        try:
            await asyncio.wait({task, gone, draining}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if gone.done():
                raise ClientGone
            return None
        finally:
            await ended(task, gone)

    async def disconnected(self) -> None:
        """Return once the client has gone."""
        while (await self.receive())["type"] != "http.disconnect":
            pass


class ClientGone(Exception):
    """Nobody is there to be answered."""


CLOSE = (b"connection", b"close")


async def ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what still runs, and wait for it."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _too_large(longest: int) -> Exception:
    # The rest of the body is not read, so the connection cannot serve another request.
    return problem("payload-too-large", "the body is too large", max_bytes=longest, headers=[CLOSE])
