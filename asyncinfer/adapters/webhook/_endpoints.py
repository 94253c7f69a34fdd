"""Registered endpoints: made, proven, changed, given new secrets, and forgotten."""

from __future__ import annotations

import asyncio
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from typing import get_args
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from asyncinfer import JobManager, wire
from asyncinfer.abc import Clock, Endpoint, Outbox
from asyncinfer.adapters.webhook._attempts import REQUEST_ORIGIN, SIGNING_SECONDS, Posts, origin_header
from asyncinfer.adapters.webhook._cloud_events import DEFAULT_SOURCE, body_in, headers_in
from asyncinfer.adapters.webhook._envelope import body_of_notice, message_id
from asyncinfer.adapters.webhook._guard import Guard
from asyncinfer.adapters.webhook._registered import (
    EndpointState,
    Format,
    Proof,
    changed,
    new_endpoint_id,
    secrets_of,
    state_of,
)
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.adapters.webhook._secrets import Secret
from asyncinfer.adapters.webhook._signing import HmacSigner, Signer, signed_headers
from asyncinfer.adapters.webhook.errors import NotProven, SigningFailed, TooManyEndpoints, UnknownEndpoint
from asyncinfer.errors import InvalidOption

JOB_EVENTS = ("job.succeeded", "job.failed", "job.canceled")
"""What an endpoint is told of that names no events."""
EVENTS: tuple[wire.EndpointEvent, ...] = get_args(wire.EndpointEvent)
MOST_ENDPOINTS = 100
"""Of one owner."""
OVERLAP_SECONDS = 86_400.0
"""How long the previous secret goes on signing after a rotation."""
LONGEST_DESCRIPTION = 256
CHANGES_TRIED = 20
"""Times to write a change of an endpoint that others change meanwhile."""


class Endpoints:
    """The endpoints of all owners of a manager's store. Every call names the owner it is for.

    `public_base_url` is the sender's: its host is what it is called in the handshake of CloudEvents, and all of it the
    source of events in their formats. Raises UrlRejected where a URL may not be called, and UnknownEndpoint.
    """

    def __init__(
        self,
        manager: JobManager,
        guard: Guard,
        transport: Posts,
        *,
        signers: Sequence[Signer] = (),
        public_base_url: str = "",
    ) -> None:
        self._manager = manager
        self._guard = guard
        self._transport = transport
        self._signers = signers
        self._base_url = public_base_url.rstrip("/")

    @property
    def _outbox(self) -> Outbox:
        return self._manager.outbox

    @property
    def _clock(self) -> Clock:
        return self._manager.clock

    async def register(
        self,
        owner: str,
        url: str,
        *,
        events: Sequence[str] = JOB_EVENTS,
        description: str = "",
        proof: Proof = "none",
        format: Format = "standard",  # noqa: A002  its name on the wire
    ) -> Endpoint:
        """Register a receiver and give it a secret. With a proof it is disabled until `prove` has succeeded.

        `format` is how events are written for it, now and for ever. Raises TooManyEndpoints.
        """
        _check_events(events)
        _check_description(description)
        if proof == "cloudevents":
            self._origin()
        await self._guard.check(url)
        await self._check_room(owner, MOST_ENDPOINTS - 1)
        endpoint = Endpoint(
            id=new_endpoint_id(),
            owner=owner,
            target=url,
            events=tuple(events),
            secrets=(Secret.new().reveal(),),
            is_enabled=proof == "none",
            created_at=self._clock.now(),
            settings=msgspec.msgpack.encode(
                EndpointState(
                    description=description,
                    format=format,
                    source="" if format == "standard" else self._base_url or DEFAULT_SOURCE,
                    proof=proof,
                    needs_proof=proof != "none",
                )
            ),
        )
        await self._outbox.put_endpoint(endpoint)
        try:
            await self._check_room(owner, MOST_ENDPOINTS)  # others may have registered meanwhile
        except TooManyEndpoints:
            await self._outbox.delete_endpoint(owner, endpoint.id)
            raise
        return endpoint

    async def get(self, owner: str, endpoint_id: str) -> Endpoint:
        """Return one endpoint."""
        found = await self._outbox.endpoints(owner, [endpoint_id])
        if not found:
            raise UnknownEndpoint("there is no such webhook endpoint")
        return found[0]

    async def list(self, owner: str) -> Sequence[Endpoint]:
        """Return all endpoints of the owner."""
        return await self._outbox.endpoints(owner)

    async def change(
        self,
        owner: str,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        is_enabled: bool | None = None,
    ) -> Endpoint:
        """Change what is given. Enabling one again forgets that it failed.

        A new URL has not failed yet. One that had to prove itself must do so again there, and is disabled until then.
        Raises NotProven for enabling one that has not.
        """
        if events is not None:
            _check_events(events)
        if description is not None:
            _check_description(description)
        if url is not None:
            await self._guard.check(url)

        def with_changes(endpoint: Endpoint) -> Endpoint:
            state = state_of(endpoint)
            if description is not None:
                state = replace(state, description=description)
            target = endpoint.target if url is None else url
            if target != endpoint.target:
                state = replace(state, failing_since=None)
            if state.is_verified and target != endpoint.target:
                state = replace(state, is_verified=False, needs_proof=True, origin="")
            if state.needs_proof and is_enabled:
                raise NotProven("the endpoint must prove first that it wants to be called")
            if is_enabled:
                state = replace(state, failing_since=None, disabled_because="")
            wanted = endpoint.is_enabled if is_enabled is None else is_enabled
            return changed(
                endpoint,
                state,
                target=target,
                events=endpoint.events if events is None else tuple(events),
                is_enabled=wanted and not state.needs_proof,
            )

        return await self._update(owner, endpoint_id, with_changes)

    async def delete(self, owner: str, endpoint_id: str) -> None:
        """Forget an endpoint; what is pending for it is not sent."""
        if not await self._outbox.delete_endpoint(owner, endpoint_id):
            raise UnknownEndpoint("there is no such webhook endpoint")

    async def rotate(self, owner: str, endpoint_id: str, *, overlap: float = OVERLAP_SECONDS) -> Endpoint:
        """Give an endpoint a new secret; for `overlap` seconds the one before signs too."""
        until = self._clock.now() + round(overlap * 1000)
        secret = Secret.new().reveal()

        def rotated(endpoint: Endpoint) -> Endpoint:
            state = replace(state_of(endpoint), previous_until=until)
            return changed(endpoint, state, secrets=(secret, *endpoint.secrets[:1]))

        return await self._update(owner, endpoint_id, rotated)

    async def prove(self, owner: str, endpoint_id: str) -> Endpoint:
        """Ask the endpoint whether it wants webhooks, and enable it when it does. Raises NotProven and SigningFailed.

        A signed POST `webhook.verification` with `{"challenge": …}` in its data; the answer's body must be the
        challenge, or JSON with it as `challenge`. Of one registered with the proof `cloudevents`: an OPTIONS with
        `WebHook-Request-Origin`; a 2xx must have it, or `*`, as `WebHook-Allowed-Origin`.
        """
        endpoint = await self.get(owner, endpoint_id)
        origin = ""
        if state_of(endpoint).proof == "cloudevents":
            origin = self._origin()
            await self._ask_for_permission(endpoint, origin)
        else:
            await self._challenge(endpoint)

        def proven(now: Endpoint) -> Endpoint:
            if now.target != endpoint.target:
                raise NotProven("the endpoint's URL was changed meanwhile, and the new one has proven nothing")
            state = replace(state_of(now), is_verified=True, needs_proof=False, origin=origin)
            return changed(now, replace(state, failing_since=None, disabled_because=""), is_enabled=True)

        return await self._update(owner, endpoint_id, proven)

    async def test(self, owner: str, endpoint_id: str) -> Response:
        """Send a signed `webhook.test`, once, and return how it went. Raises SigningFailed."""
        endpoint = await self.get(owner, endpoint_id)
        return await self._notify(endpoint, "webhook.test", {"endpoint": endpoint.id})

    async def _challenge(self, endpoint: Endpoint) -> None:
        challenge = secrets.token_urlsafe(32)
        data = {"challenge": challenge, "endpoint": endpoint.id}
        response = await self._notify(endpoint, "webhook.verification", data)
        if not response.is_delivered or not _is_echo(response.body, challenge):
            raise NotProven("the endpoint did not echo the challenge")

    async def _ask_for_permission(self, endpoint: Endpoint, origin: str) -> None:
        """Do the handshake of CloudEvents' HTTP 1.1 Web Hooks 1.0, section 4: at once, not by a callback."""
        response = await self._transport.options(endpoint.target, {REQUEST_ORIGIN: origin})
        allowed = (response.allowed_origin or "").lower()
        if not response.is_delivered or allowed not in (origin, "*"):
            raise NotProven(f"the endpoint did not allow {origin} to send to it")

    def _origin(self) -> str:
        """Return what this sender is called. Raises InvalidOption."""
        try:
            origin = urlsplit(self._base_url).hostname or ""
        except ValueError:
            origin = ""
        if not _HOST.fullmatch(origin):
            raise InvalidOption("proof: cloudevents needs a sender with a public_base_url, whose host it is called by")
        return origin

    async def _notify(self, endpoint: Endpoint, event: str, data: dict[str, str]) -> Response:
        now = self._clock.now()
        state = state_of(endpoint)
        name = message_id(now, endpoint.owner, endpoint.id, event, secrets.token_hex(16))
        body = body_in(state.format, state.source, name, body_of_notice(event, now, data))
        told = headers_in(state.format, state.source, name, event, body)
        signed = await self._signed(endpoint, name, now, body)
        return await self._transport.post(endpoint.target, {**told, **origin_header(state), **signed}, body)

    async def _signed(self, endpoint: Endpoint, name: str, now: int, body: bytes) -> dict[str, str]:
        signers = [HmacSigner(Secret.parse(text)) for text in secrets_of(endpoint, now)]
        try:
            async with asyncio.timeout(SIGNING_SECONDS):
                return await signed_headers(name, now // 1000, body, [*signers, *self._signers])
        except Exception as error:  # a signer is somebody's own: a KMS may fail in any way
            raise SigningFailed(f"nothing was sent, it could not be signed: {type(error).__qualname__}") from error

    async def _check_room(self, owner: str, most: int) -> None:
        if len(await self._outbox.endpoints(owner)) > most:
            raise TooManyEndpoints(f"there are {MOST_ENDPOINTS} webhook endpoints, as many as one may have; delete one")

    async def _update(self, owner: str, endpoint_id: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
        """Change an endpoint as it stands, and again where somebody else, the sender even, was faster."""
        for _ in range(CHANGES_TRIED):
            endpoint = change(await self.get(owner, endpoint_id))
            if await self._outbox.put_endpoint(endpoint):
                return endpoint
        raise InvalidOption("endpoint: expected nobody else to change it all the while; try again")


class _Echo(Struct):
    challenge: str = ""


def _is_echo(body: bytes, challenge: str) -> bool:
    expected = challenge.encode()
    try:
        told = msgspec.json.decode(body, type=_Echo).challenge.encode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = body.strip()
    return hmac.compare_digest(told, expected)


def _check_events(events: Sequence[str]) -> None:
    if not events or not set(events) <= set(EVENTS):
        raise InvalidOption(f"events: expected some of {', '.join(EVENTS)}")


def _check_description(description: str) -> None:
    if len(description) > LONGEST_DESCRIPTION or not description.isprintable():
        raise InvalidOption(f"description: expected at most {LONGEST_DESCRIPTION} printable characters")


_HOST = re.compile(r"[A-Za-z0-9._:-]{1,255}")
