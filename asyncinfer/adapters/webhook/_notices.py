"""`webhook.disabled`: what an owner's other endpoints are told when the sender has disabled one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from asyncinfer.abc import Endpoint, NewDelivery
from asyncinfer.adapters.webhook._cloud_events import body_in
from asyncinfer.adapters.webhook._envelope import body_of_notice, instant, message_id
from asyncinfer.adapters.webhook._registered import state_of
from asyncinfer.adapters.webhook._told import host_told

DISABLED = "webhook.disabled"


def notices_of(disabled: Endpoint, others: Sequence[Endpoint], at: int) -> Sequence[NewDelivery]:
    """Return the deliveries to those of the owner's endpoints that want to hear of it."""
    data = {
        "endpoint": disabled.id,
        "url_host": host_told(disabled.target),
        "disabled_because": state_of(disabled).disabled_because,
        "disabled_at": msgspec.to_builtins(instant(at)),
    }
    body = body_of_notice(DISABLED, at, data)
    return [
        _notice_to(one, disabled, at, body)
        for one in others
        if one.is_enabled and one.id != disabled.id and DISABLED in one.events
    ]


def _notice_to(receiver: Endpoint, disabled: Endpoint, at: int, body: bytes) -> NewDelivery:
    state = state_of(receiver)
    name = message_id(at, disabled.owner, disabled.id, str(disabled.revision), DISABLED, receiver.id)
    return NewDelivery(
        id=name,
        target=receiver.target,
        event=DISABLED,
        body=body_in(state.format, state.source, name, body),
        endpoint=receiver.id,
        due_at=at,
    )
