"""Registered endpoints: made, proven, changed, given new secrets, and forgotten."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from asyncinfer import JobManager
from asyncinfer.abc import Clock, Endpoint, Outbox
from asyncinfer.adapters.webhook._attempts import Posts
from asyncinfer.adapters.webhook._envelope import body_of_notice, message_id
from asyncinfer.adapters.webhook._guard import Guard
from asyncinfer.adapters.webhook._registered import EndpointState, changed, new_endpoint_id, secrets_of, state_of
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.adapters.webhook._secrets import Secret
from asyncinfer.adapters.webhook._signing import HmacSigner, Signer, signed_headers
from asyncinfer.adapters.webhook.errors import NotProven, UnknownEndpoint
from asyncinfer.errors import InvalidOption

Proof = Literal["none", "challenge"]
JOB_EVENTS = ("job.succeeded", "job.failed", "job.canceled")
OVERLAP_SECONDS = 86_400.0
"""How long the previous secret goes on signing after a rotation."""
LONGEST_DESCRIPTION = 256
CHANGES_TRIED = 20
"""Times to write a change of an endpoint that others change meanwhile."""


class Endpoints:
    """The endpoints of all owners of a manager's store. Every call names the owner it is for.

    Raises UrlRejected where a URL may not be called, and UnknownEndpoint.
    """

    def __init__(self, manager: JobManager, guard: Guard, transport: Posts, *, signers: Sequence[Signer] = ()) -> None:
        self._manager = manager
        self._guard = guard
        self._transport = transport
        self._signers = signers

    @property
    def _outbox(self) -> Outbox:
        return self._manager.outbox

    @property
    def _clock(self) -> Clock:
        return self._manager.clock

    async def register(
        self, owner: str, url: str, *, events: Sequence[str] = JOB_EVENTS, description: str = "", proof: Proof = "none"
    ) -> Endpoint:
        """Register a receiver and give it a secret. With `challenge` it is disabled until `prove` has succeeded."""
        _check_events(events)
        _check_description(description)
        await self._guard.check(url)
        endpoint = Endpoint(
            id=new_endpoint_id(),
            owner=owner,
            target=url,
            events=tuple(events),
            secrets=(Secret.new().reveal(),),
            is_enabled=proof == "none",
            created_at=self._clock.now(),
            settings=msgspec.msgpack.encode(EndpointState(description=description, needs_proof=proof == "challenge")),
        )
        await self._outbox.put_endpoint(endpoint)
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

        One that had to prove itself must do so again at a new URL, and is disabled until then. Raises NotProven for
        enabling one that has not.
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
            if state.is_verified and target != endpoint.target:
                state = replace(state, is_verified=False, needs_proof=True)
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
        """Send a challenge, and enable the endpoint when it is echoed. Raises NotProven.

        A signed POST `webhook.verification` with `{"challenge": …}` in its data; the answer's body must be the
        challenge, or JSON with it as `challenge`.
        """
        endpoint = await self.get(owner, endpoint_id)
        challenge = secrets.token_urlsafe(32)
        response = await self._notify(endpoint, "webhook.verification", {"challenge": challenge})
        if not response.is_delivered or not _is_echo(response.body, challenge):
            raise NotProven("the endpoint did not echo the challenge")

        def proven(now: Endpoint) -> Endpoint:
            if now.target != endpoint.target:
                raise NotProven("the endpoint's URL was changed meanwhile, and the new one has echoed nothing")
            state = replace(state_of(now), is_verified=True, needs_proof=False)
            return changed(now, replace(state, failing_since=None, disabled_because=""), is_enabled=True)

        return await self._update(owner, endpoint_id, proven)

    async def test(self, owner: str, endpoint_id: str) -> Response:
        """Send a signed `webhook.test`, once, and return how it went."""
        endpoint = await self.get(owner, endpoint_id)
        return await self._notify(endpoint, "webhook.test", {"endpoint": endpoint.id})

    async def _notify(self, endpoint: Endpoint, event: str, data: dict[str, str]) -> Response:
        now = self._clock.now()
        body = body_of_notice(event, now, data)
        name = message_id(now, endpoint.owner, endpoint.id, event, secrets.token_hex(16))
        signers = [HmacSigner(Secret.parse(text)) for text in secrets_of(endpoint, now)]
        headers = await signed_headers(name, now // 1000, body, [*signers, *self._signers])
        return await self._transport.post(endpoint.target, {"content-type": "application/json", **headers}, body)

    async def _update(self, owner: str, endpoint_id: str, change: Callable[[Endpoint], Endpoint]) -> Endpoint:
        """Change an endpoint as it stands, and again where somebody else, the sender even, was faster."""
        for _ in range(CHANGES_TRIED):
            endpoint = change(await self.get(owner, endpoint_id))
            if await self._outbox.put_endpoint(endpoint):
                return endpoint
        raise InvalidOption("endpoint: expected nobody else to change it all the while; try again")


def _is_echo(body: bytes, challenge: str) -> bool:
    expected = challenge.encode()
    try:
        told = msgspec.json.decode(body, type=dict[str, str]).get("challenge", "").encode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = body.strip()
    return hmac.compare_digest(told, expected)


def _check_events(events: Sequence[str]) -> None:
    if not events or not set(events) <= set(JOB_EVENTS):
        raise InvalidOption(f"events: expected some of {', '.join(JOB_EVENTS)}")


def _check_description(description: str) -> None:
    if len(description) > LONGEST_DESCRIPTION or not description.isprintable():
        raise InvalidOption(f"description: expected at most {LONGEST_DESCRIPTION} printable characters")
