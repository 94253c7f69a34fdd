"""From endings to deliveries: each owed event becomes one for each subscriber that wants it, bytes and all."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from asyncinfer import Job, JobKey, JobManager, Subscription
from asyncinfer.abc import Clock, Endpoint, NewDelivery, Outbox, Owed
from asyncinfer.adapters._job_answer import JobAnswers
from asyncinfer.adapters.webhook._cloud_events import body_in
from asyncinfer.adapters.webhook._envelope import FULL_BYTES, body_of, body_of_forgotten, message_id, thin_body_of
from asyncinfer.adapters.webhook._registered import EndpointState, state_of

OWED_AT_ONCE = 200
LEASE_SECONDS = 60
RECORDS_AT_ONCE = 4
"""Jobs read at a time with their results, each of which may have 16 MiB."""
SURELY_THIN_BYTES = 4 * FULL_BYTES
"""A stored result above it has more than `FULL_BYTES` as JSON: no need to make that."""
logger = logging.getLogger("asyncinfer.webhook")


class Expander:
    """Makes deliveries of what is owed. What was leased stays in hand until the store has taken its deliveries."""

    def __init__(self, manager: JobManager, answers: JobAnswers) -> None:
        self._manager = manager
        self._outbox: Outbox = manager.outbox
        self._clock: Clock = manager.clock
        self._answers = answers
        self._owed: Sequence[Owed] = ()

    async def step(self) -> bool:
        """Expand what is owed; False when nothing is. Raises StoreError; the next step then begins with the same."""
        if not self._owed:
            self._owed = await self._outbox.owed(OWED_AT_ONCE, LEASE_SECONDS * 1000)
        if not self._owed:
            return False
        endpoints = await self._endpoints_of(self._owed)
        items: list[tuple[Owed, Sequence[NewDelivery]]] = []
        for start in range(0, len(self._owed), RECORDS_AT_ONCE):
            some = self._owed[start : start + RECORDS_AT_ONCE]
            jobs = await self._manager.records([JobKey(one.owner, one.id) for one in some])
            for one, job in zip(some, jobs, strict=True):
                try:
                    items.append((one, await self._deliveries(one, job, endpoints)))
                except Exception as error:  # noqa: BLE001  it is looked at again when its lease ends; the others go on
                    logger.error("job %s cannot be told to its webhook now: %s", one.id, type(error).__qualname__)
        await self._outbox.expand(items)
        self._owed = ()
        return True

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
        wanted = [one for one in owed.subscriptions if event in one.events]
        receivers = [(one, _receiver(owed, one, event, endpoints)) for one in wanted]
        if not any(url for _, (url, _) in receivers):
            return []
        body = await self._body(event, owed, job)
        return [
            _delivery(owed, event, body, subscription, url, endpoint)
            for subscription, (url, endpoint) in receivers
            if url is not None
        ]

    async def _body(self, event: str, owed: Owed, job: Job | None) -> bytes:
        if job is None:
            return body_of_forgotten(event, owed)
        try:
            if job.result is not None and len(job.result) > SURELY_THIN_BYTES:
                return thin_body_of(event, owed.at, self._answers.job(replace(job, result=None), owed.at))
            return body_of(event, owed.at, await self._answers.told(job, owed.at))
        except Exception as error:  # noqa: BLE001  one record that cannot be told must not keep the others from being sent
            logger.error("job %s cannot be told in full to its webhook: %s", owed.id, type(error).__qualname__)
            return body_of_forgotten(event, owed)


def _delivery(
    owed: Owed, event: str, body: bytes, subscription: Subscription, url: str, endpoint: Endpoint | None
) -> NewDelivery:
    # Of the target as the job has it: an endpoint whose URL changes in between is still told once.
    name = message_id(owed.at, owed.owner, owed.id, str(owed.revision), event, subscription.target)
    state = EndpointState() if endpoint is None else state_of(endpoint)
    return NewDelivery(
        id=name,
        target=url,
        event=event,
        body=body_in(state.format, state.source, name, body),
        endpoint=None if endpoint is None else endpoint.id,
        secret=subscription.secret if endpoint is None else "",
        due_at=owed.at,
    )


def _receiver(
    owed: Owed, subscription: Subscription, event: str, endpoints: Mapping[tuple[str, str], Endpoint]
) -> tuple[str | None, Endpoint | None]:
    """Return (URL, endpoint) to send to; no URL when the endpoint is gone, or wants no such event."""
    if "://" in subscription.target:
        return subscription.target, None
    endpoint = endpoints.get((owed.owner, subscription.target))
    if endpoint is None or event not in endpoint.events:
        return None, None
    return endpoint.target, endpoint
