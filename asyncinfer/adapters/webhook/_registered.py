"""What a registered endpoint is beside the store's record of it: its state, kept in the record's `settings`."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from asyncinfer import wire
from asyncinfer.abc import Endpoint

Proof = wire.WebhookProof
Format = wire.WebhookFormat
FAILING_MS = 120 * 3_600_000
"""An endpoint that only fails for so long is disabled."""
_encode = msgspec.msgpack.Encoder().encode


class EndpointState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the sender knows of an endpoint. Instants in milliseconds."""

    description: str = ""
    format: Format = "standard"
    """How events are written; it never changes, so that stored bytes and headers agree."""
    source: str = ""
    """What CloudEvents name as their source: that of the registration, for the same reason."""
    proof: Proof = "none"
    """How it was to prove itself when it was registered."""
    origin: str = ""
    """The sender that it has allowed by the handshake of CloudEvents."""
    is_verified: bool = False
    """It has proven that it wants to be called."""
    needs_proof: bool = False
    """It must prove that, before it is enabled."""
    failing_since: int | None = None
    """Every attempt since then has failed."""
    disabled_because: str = ""
    previous_until: int | None = None
    """Until then deliveries are signed with the previous secret too."""


def state_of(endpoint: Endpoint) -> EndpointState:
    """Return an endpoint's state."""
    return _decoder.decode(endpoint.settings) if endpoint.settings else EndpointState()


def changed(endpoint: Endpoint, state: EndpointState, **fields: Any) -> Endpoint:
    """Return the next revision of an endpoint; `fields` are the record's own."""
    return replace(endpoint, settings=_encode(state), revision=endpoint.revision + 1, **fields)


def new_endpoint_id() -> str:
    return "wh_" + secrets.token_hex(12)


def secrets_of(endpoint: Endpoint, now: int) -> Sequence[str]:
    """Return the secrets to sign with: the current one first, then the previous one in its overlap."""
    current = endpoint.secrets[:1]
    until = state_of(endpoint).previous_until
    return [*current, *endpoint.secrets[1:2]] if until is not None and now < until else current


def after_attempt(endpoint: Endpoint, *, is_delivered: bool, is_gone: bool, now: int) -> Endpoint | None:
    """Return what an attempt makes of an endpoint, or None when it stays as it is."""
    state = state_of(endpoint)
    if is_delivered:
        return None if state.failing_since is None else changed(endpoint, replace(state, failing_since=None))
    if is_gone:
        return _disabled(endpoint, state, "it answered 410")
    if state.failing_since is None:
        return changed(endpoint, replace(state, failing_since=now))
    if now - state.failing_since >= FAILING_MS:
        return _disabled(endpoint, state, "every attempt of 120 hours failed")
    return None


def _disabled(endpoint: Endpoint, state: EndpointState, why: str) -> Endpoint | None:
    if not endpoint.is_enabled:
        return None
    return changed(endpoint, replace(state, disabled_because=why), is_enabled=False)


_decoder = msgspec.msgpack.Decoder(EndpointState)
