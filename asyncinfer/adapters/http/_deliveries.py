"""The log of webhooks' deliveries: look at them, send one again."""

from __future__ import annotations

import re
from typing import get_args

from asyncinfer import abc as records
from asyncinfer import wire
from asyncinfer.adapters.http._call import Answer, Call, answer
from asyncinfer.adapters.http._look import count_in, found, milliseconds_in
from asyncinfer.adapters.http._paths import ENDPOINT, ID
from asyncinfer.adapters.http._problems import invalid, problem
from asyncinfer.adapters.http._sender import sender_of
from asyncinfer.adapters.webhook import delivery_told

STATUSES: tuple[records.DeliveryStatus, ...] = get_args(records.DeliveryStatus)
LONGEST_PAGE = 200


async def find(call: Call) -> Answer:
    """Answer with a page of deliveries."""
    sender = sender_of(call)
    query = call.query("job", "endpoint", "status", "since", "until", "after", "limit")
    await call.may("webhooks")
    matching = records.DeliveryFilter(
        job_id=_matching(query, "job", ID),
        endpoint=_matching(query, "endpoint", ENDPOINT),
        status=_status(query),
        since=milliseconds_in(query, "since"),
        until=milliseconds_in(query, "until"),
    )
    if query.get("after") == "":
        raise invalid("after", "expected the next_cursor of a page")
    limit = count_in(query, "limit", default=50, highest=LONGEST_PAGE)
    page = await sender.manager.outbox.deliveries(
        call.owned.owner,
        matching,
        after=query.get("after"),
        limit=limit + 1,  # one more tells whether there is another page
    )
    cursor = page[limit - 1].id if len(page) > limit else None
    return answer(wire.DeliveryList(data=[delivery_told(one) for one in page[:limit]], next_cursor=cursor))


async def of_job(call: Call) -> Answer:
    """Answer with the deliveries of one job."""
    sender = sender_of(call)
    call.query()
    _, job = await found(call)
    await call.may("webhooks", job)
    page = await sender.manager.outbox.of_job(job.job_key)
    return answer(wire.DeliveryList(data=[delivery_told(one) for one in page], next_cursor=None))


async def get(call: Call) -> Answer:
    """Answer with one delivery and its log."""
    sender = sender_of(call)
    call.query()
    await call.may("webhooks")
    delivery = await _one(call)
    log = await sender.manager.outbox.log(call.owned.owner, delivery.id)
    return answer(delivery_told(delivery, log))


async def redeliver(call: Call) -> Answer:
    """Send a delivery again, with the same id and body."""
    sender = sender_of(call)
    call.query()
    await call.may("webhooks")
    delivery = await _one(call)
    await sender.manager.outbox.redeliver(call.owned.owner, [delivery.id], sender.manager.clock.now())
    sender.wake()
    return answer(delivery_told(await _one(call)), 202)


async def _one(call: Call) -> records.Delivery:
    """Return the delivery that the path names, if it is of who asks."""
    delivery_id = call.path["id"]
    if ID.fullmatch(delivery_id) is not None:
        delivery = await sender_of(call).manager.outbox.delivery(call.owned.owner, delivery_id)
        if delivery is not None:
            return delivery
    raise problem("not-found", "there is no such delivery")


def _matching(query: dict[str, str], name: str, pattern: re.Pattern[str]) -> str | None:
    given = query.get(name)
    if given is not None and pattern.fullmatch(given) is None:
        raise invalid(name, f"expected {pattern.pattern}")
    return given


def _status(query: dict[str, str]) -> records.DeliveryStatus | None:
    if "status" not in query:
        return None
    for status in STATUSES:
        if status == query["status"]:
            return status
    raise invalid("status", f"expected one of {', '.join(STATUSES)}")
