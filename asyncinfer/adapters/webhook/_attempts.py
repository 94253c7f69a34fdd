"""One attempt at a delivery: sign it with what is valid now, post it, say how it went and what follows."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from asyncinfer._shown_target import shown_target
from asyncinfer.abc import Clock, Delivery, DeliveryAttempt, Endpoint, Outbox, Settlement
from asyncinfer.adapters.webhook._cloud_events import headers_in
from asyncinfer.adapters.webhook._hand import Went
from asyncinfer.adapters.webhook._notices import notices_of
from asyncinfer.adapters.webhook._registered import EndpointState, after_attempt, secrets_of, state_of
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.adapters.webhook._secrets import Secret
from asyncinfer.adapters.webhook._signing import HmacSigner, Signer, signed_headers
from asyncinfer.adapters.webhook._verdict import Answered, disabled, settlement_of
from asyncinfer.errors import StoreError

SIGNING_SECONDS = 10.0
"""A signer that takes longer, a KMS that is away, has failed."""
REQUEST_ORIGIN = "webhook-request-origin"
"""What every request has that goes to an endpoint proven by the handshake of CloudEvents."""
NOTES_TRIED = 5
"""Times to write what an attempt makes of an endpoint that others change meanwhile."""
logger = logging.getLogger("asyncinfer.webhook")


class Posts(Protocol):
    """What carries a request to a receiver: a `Transport`, or a test's stand-in."""

    async def post(self, target: str, headers: Mapping[str, str], body: bytes) -> Response: ...

    async def options(self, target: str, headers: Mapping[str, str]) -> Response: ...

    async def close(self) -> None: ...


class Attempts:
    """Makes attempts, each within `seconds`.

    `secrets` sign what goes to URLs that came with a job, `signers` everything besides.
    """

    def __init__(
        self,
        outbox: Outbox,
        clock: Clock,
        transport: Posts,
        *,
        secrets: Sequence[Secret],
        signers: Sequence[Signer],
        seconds: float,
        settle: Callable[[Settlement], None],
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._transport = transport
        self._secrets = secrets
        self._signers = signers
        self._seconds = seconds
        self._settle = settle
        self._random = random.Random()

    async def make(self, delivery: Delivery) -> Went:
        """Make one attempt, and hand in how it went. Nothing is raised; what is not handed in is made again."""
        try:
            return await self._make(delivery)
        except StoreError as error:
            logger.warning("webhook %s waits, the store does not answer: %s", delivery.id, error)
        except Exception as error:  # noqa: BLE001  the others go on
            # Without its text or its trace, which may hold what nobody should read.
            logger.error("webhook %s: an attempt could not be made: %s", delivery.id, type(error).__qualname__)
            self._settle(settlement_of(delivery, self._failed("it could not be made"), self._random.random()))
        return "neither"

    async def _make(self, delivery: Delivery) -> Went:
        endpoint = None
        if delivery.endpoint is not None:
            # Read at each attempt: its URL and secrets are those of now.
            found = await self._outbox.endpoints(delivery.owner, [delivery.endpoint])
            endpoint = found[0] if found else None
            if endpoint is None or not endpoint.is_enabled:
                self._settle(disabled(delivery, self._failed("the endpoint is disabled").attempt))
                return "neither"
        answered = await self.answered(delivery, endpoint)
        settlement = settlement_of(delivery, answered, self._random.random(), now=self._clock.now())
        noted = None if answered.is_ours else endpoint
        if noted is not None and not answered.is_delivered:
            # First: once it is settled its job may be forgotten, with which goes what others are told of the endpoint.
            await self._note(noted, answered, delivery)
        self._settle(settlement)
        _tell(delivery, settlement)
        if noted is not None and answered.is_delivered:
            await self._note(noted, answered, delivery)
        if answered.is_ours:
            return "neither"
        return "delivered" if answered.is_delivered else "failed"

    async def answered(self, delivery: Delivery, endpoint: Endpoint | None) -> Answered:
        """Sign it and post it, and return how that went: nothing is written, no exception of either is raised."""
        now = self._clock.now()
        try:
            signers = self._signers_of(delivery, endpoint, now)
            async with asyncio.timeout(SIGNING_SECONDS):
                headers = await signed_headers(delivery.id, now // 1000, delivery.body, signers)
        except Exception as error:  # noqa: BLE001  a signer is somebody's own: a KMS may fail in any way
            why = type(error).__qualname__
            logger.error(
                "webhook %s could not be signed (%s): is there a secret, is the signer well?", delivery.id, why
            )
            return self._failed(f"it could not be signed: {why}")
        url = delivery.target if endpoint is None else endpoint.target
        state = EndpointState() if endpoint is None else state_of(endpoint)
        told = headers_in(state.format, state.source, delivery.id, delivery.event, delivery.body)
        headers = {**told, **origin_header(state), **headers}
        try:
            async with asyncio.timeout(self._seconds - SIGNING_SECONDS):
                response = await self._transport.post(url, headers, delivery.body)
        except TimeoutError:
            detail = "the transport took longer than attempt_seconds"
            return Answered(attempt=DeliveryAttempt(at=now, kind="timeout", detail=detail))
        attempt = DeliveryAttempt(
            at=now, kind=response.kind, status_code=response.status, latency=response.latency, detail=response.detail
        )
        return Answered(attempt=attempt, retry_after=response.retry_after)

    def _failed(self, detail: str) -> Answered:
        """Return that nothing was sent, for a reason on our side."""
        return Answered(attempt=DeliveryAttempt(at=self._clock.now(), kind="blocked", detail=detail), is_ours=True)

    def _signers_of(self, delivery: Delivery, endpoint: Endpoint | None, now: int) -> Sequence[Signer]:
        if endpoint is not None:
            secrets = [Secret.parse(text) for text in secrets_of(endpoint, now)]
        elif delivery.secret:
            secrets = [Secret.parse(delivery.secret)]
        else:
            secrets = list(self._secrets)
        return [*(HmacSigner(secret) for secret in secrets), *self._signers]

    async def _note(self, endpoint: Endpoint, answered: Answered, delivery: Delivery) -> None:
        """Remember since when an endpoint fails; disable it when it wants nothing more, or fails for too long.

        What others are told of that is stored by the same step: whoever is second finds it disabled, and tells nothing.
        """
        for _ in range(NOTES_TRIED):
            now = self._clock.now()
            after = after_attempt(endpoint, is_delivered=answered.is_delivered, is_gone=answered.is_gone, now=now)
            if after is None:
                return
            try:
                if await self._put(endpoint, after, delivery, now):
                    if endpoint.is_enabled and not after.is_enabled:
                        logger.warning("webhook endpoint %s is disabled", endpoint.id)
                    return
                found = await self._outbox.endpoints(endpoint.owner, [endpoint.id])
            except StoreError:
                return  # the next attempt finds out the same
            if not found or found[0].target != endpoint.target:
                return  # what was called says nothing of a new URL
            endpoint = found[0]

    async def _put(self, before: Endpoint, after: Endpoint, delivery: Delivery, now: int) -> bool:
        if after.is_enabled or not before.is_enabled:
            return await self._outbox.put_endpoint(after)
        others = await self._outbox.endpoints(after.owner)
        return await self._outbox.put_endpoint(after, because=delivery.id, notices=notices_of(after, others, now))


def origin_header(state: EndpointState) -> Mapping[str, str]:
    """Return the header that an endpoint has asked for by allowing this sender; empty for every other."""
    return {REQUEST_ORIGIN: state.origin} if state.origin else {}


def _tell(delivery: Delivery, settlement: Settlement) -> None:
    level = {"delivered": logging.DEBUG, "pending": logging.INFO}.get(settlement.status, logging.WARNING)
    attempt = settlement.attempt
    logger.log(
        level,
        "webhook %s to %s, attempt %d: %s%s, %d ms; %s",
        delivery.id,
        shown_target(delivery.target),
        delivery.attempts + 1,
        attempt.kind,
        "" if attempt.status_code is None else f" {attempt.status_code}",
        attempt.latency,
        settlement.status,
    )
