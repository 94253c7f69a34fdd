"""What an attempt makes of its delivery: a pure decision."""

from __future__ import annotations

from msgspec import Struct

from asyncinfer.abc import Delivery, DeliveryAttempt, Settlement
from asyncinfer.adapters.webhook._schedule import delay_after

GONE = 410
SLOW_DOWN = frozenset({429, 503})


class Answered(Struct, frozen=True, kw_only=True):
    """How one attempt went, and what the receiver asked for."""

    attempt: DeliveryAttempt
    retry_after: float | None = None
    """Seconds."""
    is_ours: bool = False
    """It failed on our side, before anything was sent: it says nothing of the receiver."""

    @property
    def is_delivered(self) -> bool:
        return self.attempt.kind == "delivered"

    @property
    def is_gone(self) -> bool:
        """The receiver wants nothing more."""
        return self.attempt.status_code == GONE


def settlement_of(delivery: Delivery, answered: Answered, random: float, *, now: int | None = None) -> Settlement:
    """Return what follows of an attempt that ended `now` (in milliseconds; when it began, if not given).

    `random` is drawn from [0, 1). The wait counts from the end: one that took longer than the wait is not repeated at
    once, and what a receiver asks for counts from its answer.
    """
    attempt = answered.attempt
    if answered.is_delivered:
        return Settlement(id=delivery.id, lease_token=delivery.lease_token, status="delivered", attempt=attempt)
    if answered.is_gone:
        return disabled(delivery, attempt)
    asked = answered.retry_after if attempt.status_code in SLOW_DOWN else None
    delay = delay_after(delivery.attempts - delivery.attempts_before + 1, asked, random)
    if delay is None:
        return Settlement(id=delivery.id, lease_token=delivery.lease_token, status="exhausted", attempt=attempt)
    return Settlement(
        id=delivery.id,
        lease_token=delivery.lease_token,
        status="pending",
        attempt=attempt,
        due_at=(attempt.at if now is None else now) + round(delay * 1000),
    )


def disabled(delivery: Delivery, attempt: DeliveryAttempt) -> Settlement:
    """Return that nothing more is sent of this delivery, unless somebody asks for it."""
    return Settlement(id=delivery.id, lease_token=delivery.lease_token, status="disabled", attempt=attempt)
