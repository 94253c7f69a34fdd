"""The calls about webhooks as flows; see `_calls`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict, TypeVar

import msgspec
from msgspec import UNSET

from asyncinfer.abc import DeliveryStatus
from asyncinfer.client._decoding import decoded
from asyncinfer.client._exchange import Flow, Give, Request
from asyncinfer.client._patience import Patience
from asyncinfer.client._repeating import call
from asyncinfer.errors import InvalidOption
from asyncinfer.wire import (
    ChangeWebhook,
    Delivery,
    DeliveryAttempt,
    DeliveryList,
    EndpointEvent,
    Recover,
    Recovered,
    RegisterWebhook,
    WebhookEndpoint,
    WebhookEndpointList,
    WebhookFormat,
    WebhookProof,
)

T = TypeVar("T")

LONGEST_PAGE = 200
_JSON = {"content-type": "application/json"}


class DeliveryQuery(TypedDict, total=False):
    """Which deliveries: all that is given must hold."""

    job: str
    """Of this job."""
    endpoint: str
    """To this registered endpoint."""
    status: DeliveryStatus
    since: datetime
    """Aware: not made before."""
    until: datetime
    """Aware: not made after."""


def register(asked: RegisterWebhook, patience: Patience) -> Flow[WebhookEndpoint]:
    """Register; not asked again once it may have been read: there would be two."""
    body = msgspec.json.encode(asked)
    return (yield from _post("/v1/webhooks", WebhookEndpoint, patience, body, is_repeatable=False))


def endpoints(patience: Patience) -> Flow[list[WebhookEndpoint]]:
    return (yield from _get("/v1/webhooks", WebhookEndpointList, patience)).data


def endpoint(endpoint_id: str, patience: Patience) -> Flow[WebhookEndpoint]:
    return (yield from _get(_path(endpoint_id), WebhookEndpoint, patience))


def change(endpoint_id: str, changes: ChangeWebhook, patience: Patience) -> Flow[WebhookEndpoint]:
    body = msgspec.json.encode(changes)
    answer = yield from call(Request(method="PATCH", path=_path(endpoint_id), headers=_JSON, body=body), patience)
    return decoded(answer.body, WebhookEndpoint, "the answer")


def delete(endpoint_id: str, patience: Patience) -> Flow[None]:
    """Forget; not asked again once it may have been read: it would no more be found."""
    yield from call(Request(method="DELETE", path=_path(endpoint_id), repeatable="unless_read"), patience)


def verify(endpoint_id: str, patience: Patience) -> Flow[WebhookEndpoint]:
    return (yield from _post(f"{_path(endpoint_id)}/verify", WebhookEndpoint, patience))


def rotate_secret(endpoint_id: str, patience: Patience) -> Flow[WebhookEndpoint]:
    """Rotate; not asked again once it may have been read: after two rotations the first secret verifies no more."""
    return (yield from _post(f"{_path(endpoint_id)}/rotate-secret", WebhookEndpoint, patience, is_repeatable=False))


def test(endpoint_id: str, patience: Patience) -> Flow[DeliveryAttempt]:
    return (yield from _post(f"{_path(endpoint_id)}/test", DeliveryAttempt, patience))


def recover(endpoint_id: str, since: datetime, until: datetime | None, patience: Patience) -> Flow[int]:
    body = msgspec.json.encode(Recover(since=_aware("since", since), until=until and _aware("until", until)))
    return (yield from _post(f"{_path(endpoint_id)}/recover", Recovered, patience, body)).deliveries


def delivery_page(
    query: DeliveryQuery, patience: Patience, *, after: str | None = None, limit: int
) -> Flow[DeliveryList]:
    if not isinstance(limit, int) or not 1 <= limit <= LONGEST_PAGE:  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
        raise InvalidOption(f"limit: expected 1 to {LONGEST_PAGE}, got {limit!r}")
    cursor = () if after is None else (("after", after),)
    asked = (*_filters(query), ("limit", str(limit)), *cursor)
    return (yield from _get("/v1/deliveries", DeliveryList, patience, asked))


def deliveries(query: DeliveryQuery, limit: int | None, patience: Patience) -> Flow[None]:
    """Give every delivery that matches, at most `limit`, a page at a time."""
    if limit is not None and limit < 1:
        raise InvalidOption(f"limit: expected at least 1, got {limit!r}")
    left, after = limit, None
    while True:
        size = LONGEST_PAGE if left is None else min(left, LONGEST_PAGE)
        page = yield from delivery_page(query, patience, after=after, limit=size)
        for one in page.data:
            yield Give(one)
        left, after = None if left is None else left - len(page.data), page.next_cursor
        if after is None or left == 0:
            return


def delivery(delivery_id: str, patience: Patience) -> Flow[Delivery]:
    return (yield from _get(_path_of_delivery(delivery_id), Delivery, patience))


def redeliver(delivery_id: str, patience: Patience) -> Flow[Delivery]:
    return (yield from _post(f"{_path_of_delivery(delivery_id)}/redeliver", Delivery, patience))


def registration_of(
    url: str, events: Sequence[EndpointEvent] | None, description: str, proof: WebhookProof, form: WebhookFormat
) -> RegisterWebhook:
    """Return the registration that is asked for."""
    wanted = UNSET if events is None else list(events)
    return RegisterWebhook(url=url, events=wanted, description=description, proof=proof, format=form)


def changes_of(
    url: str | None, events: Sequence[EndpointEvent] | None, description: str | None, enabled: bool | None
) -> ChangeWebhook:
    """Return what is given as the change that is asked for."""
    return ChangeWebhook(
        url=UNSET if url is None else url,
        events=UNSET if events is None else list(events),
        description=UNSET if description is None else description,
        enabled=UNSET if enabled is None else enabled,
    )


def _get(path: str, kind: type[T], patience: Patience, query: tuple[tuple[str, str], ...] = ()) -> Flow[T]:
    answer = yield from call(Request(method="GET", path=path, query=query), patience)
    return decoded(answer.body, kind, f"the answer of {path}")


def _post(
    path: str, kind: type[T], patience: Patience, body: bytes | None = None, *, is_repeatable: bool = True
) -> Flow[T]:
    headers = {} if body is None else _JSON
    repeatable: Literal["always", "unless_read"] = "always" if is_repeatable else "unless_read"
    request = Request(method="POST", path=path, headers=headers, body=body, repeatable=repeatable)
    answer = yield from call(request, patience)
    return decoded(answer.body, kind, f"the answer of {path}")


def _filters(query: DeliveryQuery) -> tuple[tuple[str, str], ...]:
    given: dict[str, Any] = dict(query)  # Any: a text or an instant
    return tuple(
        (name, _aware(name, value).isoformat() if isinstance(value, datetime) else str(value))
        for name, value in given.items()
        if value is not None
    )


def _aware(name: str, when: datetime) -> datetime:
    if when.utcoffset() is None:
        raise InvalidOption(f"{name}: expected an aware datetime")
    return when


def _path(endpoint_id: str) -> str:
    if _ENDPOINT.fullmatch(endpoint_id) is None:
        raise InvalidOption("endpoint_id: expected wh_ and 1 to 61 of A-Z a-z 0-9 _ -")
    return f"/v1/webhooks/{endpoint_id}"


def _path_of_delivery(delivery_id: str) -> str:
    if _DELIVERY.fullmatch(delivery_id) is None:
        raise InvalidOption("delivery_id: expected 1 to 64 of A-Z a-z 0-9 _ -")
    return f"/v1/deliveries/{delivery_id}"


_ENDPOINT = re.compile(r"wh_[A-Za-z0-9_-]{1,61}")
_DELIVERY = re.compile(r"[A-Za-z0-9_-]{1,64}")
