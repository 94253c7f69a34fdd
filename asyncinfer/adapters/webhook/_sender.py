"""The sender: leases what is owed, makes deliveries of it, posts them, settles how they went.

It runs beside any manager of the store, never in a job's slot, and several may run at once: owed events and deliveries
are leased, so each is worked on by one. A delivery whose settlement was lost is sent again, with the same id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from asyncinfer import Job, JobKey, JobManager, Subscription
from asyncinfer.abc import Clock, Delivery, DeliveryAttempt, Endpoint, NewDelivery, Outbox, Owed, Settlement
from asyncinfer.adapters._job_answer import JobAnswers
from asyncinfer.adapters.webhook._breaker import Targets
from asyncinfer.adapters.webhook._endpoints import Endpoints
from asyncinfer.adapters.webhook._envelope import body_of, body_of_forgotten, message_id
from asyncinfer.adapters.webhook._guard import Guard
from asyncinfer.adapters.webhook._registered import after_attempt, secrets_of
from asyncinfer.adapters.webhook._secrets import Secret
from asyncinfer.adapters.webhook._signing import HmacSigner, Signer, signed_headers
from asyncinfer.adapters.webhook._transport import Transport
from asyncinfer.adapters.webhook._verdict import Answered, disabled, settlement_of
from asyncinfer.errors import InvalidOption, StoreError

POLL_SECONDS = 1.0
"""Endings of other processes are looked for this often; those of the manager beside it are told at once."""
RETRY_SECONDS = 1.0
OWED_AT_ONCE = 200
DUE_AT_ONCE = 100
LEASE_SECONDS = 60
"""Of an owed event and of a delivery: longer than any attempt may take."""
SLOW_SETTLE_SECONDS = 0.05
"""A settlement waits so long for company."""
logger = logging.getLogger("asyncinfer.webhook")


class WebhookSender:
    """Delivers the webhooks of a store: `async with JobManager(…) as manager, WebhookSender(manager, secret=…):`.

    `secret` signs what goes to URLs that came with a job; `previous_secrets` sign too while receivers change over.
    Registered endpoints have secrets of their own. `signers` sign everything besides, as `Ed25519Signer(key)`. `guard`
    says where may be called, `concurrency` how many attempts run at once. `public_base_url` is where links in the
    bodies lead, as in `create_app`. Raises InvalidOption.
    """

    def __init__(
        self,
        manager: JobManager,
        *,
        secret: Secret | str | None = None,
        previous_secrets: Sequence[Secret | str] = (),
        signers: Sequence[Signer] = (),
        guard: Guard | None = None,
        transport: Transport | None = None,
        public_base_url: str = "",
        concurrency: int = 64,
    ) -> None:
        if concurrency < 1:
            raise InvalidOption(f"concurrency: expected an int >= 1, got {concurrency!r}")
        self.manager = manager
        self.guard: Guard = guard or Guard()
        self.transport: Transport = transport or Transport(self.guard)
        self.signers: Sequence[Signer] = tuple(signers)
        self.endpoints: Endpoints = Endpoints(manager, self.guard, self.transport, signers=self.signers)
        self._secrets = [_secret(one) for one in (secret, *previous_secrets) if one is not None]
        self._answers = JobAnswers(public_base_url.rstrip("/"), debug=False)
        self._concurrency = concurrency
        self._random = random.Random()
        self._targets = Targets()
        self._running: set[asyncio.Task[None]] = set()
        self._settlements: list[Settlement] = []
        self._ended = asyncio.Event()
        self._due = asyncio.Event()
        self._settle = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name="asyncinfer-webhook-sender")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def run(self) -> None:
        """Deliver until cancelled; attempts that run then are broken off, and made again by whoever comes next."""
        forget = self.manager.on_ending(self._ended.set)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep(self._expand, self._ended), name="asyncinfer-webhook-expand")
                group.create_task(self._keep(self._send, self._due), name="asyncinfer-webhook-send")
                group.create_task(self._keep_settling(), name="asyncinfer-webhook-settle")
        finally:
            forget()
            for task in self._running:
                task.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)
            await self.transport.close()

    @property
    def _outbox(self) -> Outbox:
        return self.manager.outbox

    @property
    def _clock(self) -> Clock:
        return self.manager.clock

    async def _keep(self, step: Callable[[], Awaitable[float]], wake: asyncio.Event) -> None:
        """Do a step again and again: at once while there is more, else when woken, or after a while."""
        while True:
            wake.clear()
            try:
                seconds = await step()
            except StoreError as error:
                logger.warning("the store does not answer, trying again: %s", error)
                seconds = RETRY_SECONDS
            if seconds > 0:
                await self._sleep(seconds, wake)

    async def _sleep(self, seconds: float, wake: asyncio.Event) -> None:
        timer = self._clock.call_later(seconds, wake.set)
        try:
            await wake.wait()
        finally:
            timer.cancel()

    # From endings to deliveries

    async def _expand(self) -> float:
        owed = await self._outbox.owed(OWED_AT_ONCE, LEASE_SECONDS * 1000)
        if not owed:
            return POLL_SECONDS
        jobs = await self.manager.records([JobKey(one.owner, one.id) for one in owed])
        endpoints = await self._endpoints_of(owed)
        await self._outbox.expand(
            [(one, await self._deliveries(one, job, endpoints)) for one, job in zip(owed, jobs, strict=True)]
        )
        self._due.set()
        return 0.0

    async def _endpoints_of(self, owed: Sequence[Owed]) -> Mapping[tuple[str, str], Endpoint]:
        wanted = {subscription.target for one in owed for subscription in one.subscriptions}
        ids = sorted(target for target in wanted if "://" not in target)
        if not ids:
            return {}
        return {(endpoint.owner, endpoint.id): endpoint for endpoint in await self._outbox.endpoints(None, ids)}

    async def _deliveries(
        self, owed: Owed, job: Job | None, endpoints: Mapping[tuple[str, str], Endpoint]
    ) -> Sequence[NewDelivery]:
        event = f"job.{owed.status}"
        wanted = [subscription for subscription in owed.subscriptions if event in subscription.events]
        if not wanted:
            return []
        if job is None:
            body = body_of_forgotten(event, owed)
        else:
            body = body_of(event, owed.at, await self._answers.told(job, owed.at))
        new = [self._delivery(owed, event, body, subscription, endpoints) for subscription in wanted]
        return [one for one in new if one is not None]

    def _delivery(
        self,
        owed: Owed,
        event: str,
        body: bytes,
        subscription: Subscription,
        endpoints: Mapping[tuple[str, str], Endpoint],
    ) -> NewDelivery | None:
        target = subscription.target
        name = message_id(owed.owner, owed.id, str(owed.revision), event, target)
        if "://" in target:
            return NewDelivery(
                id=name, target=target, event=event, body=body, secret=subscription.secret, due_at=owed.at
            )
        endpoint = endpoints.get((owed.owner, target))
        if endpoint is None:
            return None
        return NewDelivery(
            id=name, target=endpoint.target, event=event, body=body, endpoint=endpoint.id, due_at=owed.at
        )

    # From deliveries to receivers

    async def _send(self) -> float:
        room = min(self._concurrency - len(self._running), DUE_AT_ONCE)
        if room <= 0:
            return POLL_SECONDS
        now = self._clock.monotonic()
        due = await self._outbox.due(room, LEASE_SECONDS * 1000, skip=self._targets.busy(now))
        endpoints = await self._endpoints_to(due)
        for delivery in due:
            # One that finds no room now is offered again when its lease ends.
            if self._targets.begin(delivery.target, now):
                endpoint = None if delivery.endpoint is None else endpoints.get((delivery.owner, delivery.endpoint))
                task = asyncio.create_task(self._attempt(delivery, endpoint), name=f"asyncinfer-webhook-{delivery.id}")
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        return 0.0 if len(due) == room else await self._until_due()

    async def _endpoints_to(self, due: Sequence[Delivery]) -> Mapping[tuple[str, str], Endpoint]:
        ids = sorted({delivery.endpoint for delivery in due if delivery.endpoint is not None})
        found: Sequence[Endpoint] = await self._outbox.endpoints(None, ids) if ids else []
        return {(endpoint.owner, endpoint.id): endpoint for endpoint in found}

    async def _until_due(self) -> float:
        at = await self._outbox.next_due_at()
        if at is None:
            return POLL_SECONDS
        # What is due already waits for its target: a moment passes before the next look.
        return min(POLL_SECONDS, max((at - self._clock.now()) / 1000, SLOW_SETTLE_SECONDS))

    async def _attempt(self, delivery: Delivery, endpoint: Endpoint | None) -> None:
        is_delivered = False
        try:
            settlement, answered = await self._post(delivery, endpoint)
            is_delivered = answered.is_delivered
            self._settlements.append(settlement)
            self._settle.set()
            if endpoint is not None:
                await self._note(endpoint, answered)
        finally:
            self._targets.end(delivery.target, self._clock.monotonic(), is_delivered=is_delivered)
            self._due.set()

    async def _post(self, delivery: Delivery, endpoint: Endpoint | None) -> tuple[Settlement, Answered]:
        if delivery.endpoint is not None and (endpoint is None or not endpoint.is_enabled):
            attempt = DeliveryAttempt(at=self._clock.now(), kind="blocked", detail="the endpoint is disabled")
            return disabled(delivery, attempt), Answered(attempt=attempt)
        answered = await self._answered(delivery, self._signers(delivery, endpoint))
        return settlement_of(delivery, answered, self._random.random()), answered

    async def _answered(self, delivery: Delivery, signers: Sequence[Signer]) -> Answered:
        now = self._clock.now()
        if not signers:
            detail = "there is no secret to sign with: WebhookSender(secret=…)"
            logger.error("a webhook cannot be sent: %s", detail)
            return Answered(attempt=DeliveryAttempt(at=now, kind="blocked", detail=detail))
        headers = await signed_headers(delivery.id, now // 1000, delivery.body, signers)
        response = await self.transport.post(
            delivery.target, {"content-type": "application/json", **headers}, delivery.body
        )
        return Answered(
            attempt=DeliveryAttempt(
                at=now,
                kind=response.kind,
                status_code=response.status,
                latency=response.latency,
                detail=response.detail,
            ),
            retry_after=response.retry_after,
        )

    def _signers(self, delivery: Delivery, endpoint: Endpoint | None) -> Sequence[Signer]:
        if endpoint is not None:
            secrets = [Secret.parse(text) for text in secrets_of(endpoint, self._clock.now())]
        elif delivery.secret:
            secrets = [Secret.parse(delivery.secret)]
        else:
            secrets = self._secrets
        return [*(HmacSigner(secret) for secret in secrets), *self.signers]

    async def _note(self, endpoint: Endpoint, answered: Answered) -> None:
        """Remember since when an endpoint fails; disable it when it wants nothing more, or fails for too long."""
        now = self._clock.now()
        after = after_attempt(endpoint, is_delivered=answered.is_delivered, is_gone=answered.is_gone, now=now)
        if after is None:
            return
        with contextlib.suppress(StoreError):  # the next attempt finds out the same
            is_ours = await self._outbox.put_endpoint(after)
            if is_ours and not after.is_enabled:
                logger.warning("webhook endpoint %s is disabled", endpoint.id)

    # From receivers to the log

    async def _keep_settling(self) -> None:
        while True:
            await self._settle.wait()
            await asyncio.sleep(0)  # whatever else ends in this turn joins
            self._settle.clear()
            settlements, self._settlements = self._settlements, []
            try:
                await self._outbox.settle(settlements)
            except StoreError as error:
                logger.warning("deliveries could not be settled, trying again: %s", error)
                self._settlements = settlements + self._settlements
                self._settle.set()
                await self._clock.sleep(RETRY_SECONDS)


def _secret(given: Secret | str) -> Secret:
    return given if isinstance(given, Secret) else Secret.parse(given)
