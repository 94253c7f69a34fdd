"""What an attempt makes of its delivery, and of its endpoint."""

from __future__ import annotations

import pytest

from asyncinfer.abc import Delivery, DeliveryAttempt, Endpoint
from asyncinfer.adapters.webhook._registered import (
    FAILING_MS,
    EndpointState,
    after_attempt,
    changed,
    secrets_of,
    state_of,
)
from asyncinfer.adapters.webhook._response import kind_of_status
from asyncinfer.adapters.webhook._schedule import JITTER, SCHEDULE, delay_after
from asyncinfer.adapters.webhook._verdict import Answered, settlement_of

DAY = 86_400.0
ENDPOINT = Endpoint(
    id="wh_1", owner="alice", target="https://hooks.example.com/cb", events=("job.failed",), secrets=("new", "old")
)


def delivery(attempts: int = 0) -> Delivery:
    return Delivery(
        id="msg_1",
        owner="alice",
        job_id="job_1",
        target="https://hooks.example.com/cb",
        event="job.succeeded",
        body=b"{}",
        status="pending",
        attempts=attempts,
        due_at=0,
        created_at=0,
        lease_token=7,
    )


def answered(code: int | None, *, retry_after: float | None = None, at: int = 1_000) -> Answered:
    kind = "timeout" if code is None else kind_of_status(code)
    return Answered(attempt=DeliveryAttempt(at=at, kind=kind, status_code=code), retry_after=retry_after)


def test_the_schedule_is_that_of_the_contract() -> None:
    assert SCHEDULE == (0, 5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
    assert JITTER == 0.2


@pytest.mark.parametrize("attempts", range(1, 10))
def test_a_wait_is_jittered_by_a_fifth_at_most(attempts: int) -> None:
    planned = SCHEDULE[attempts]
    assert delay_after(attempts, None, 0.0) == pytest.approx(0.8 * planned)
    assert delay_after(attempts, None, 0.5) == pytest.approx(planned)
    assert delay_after(attempts, None, 0.999999) == pytest.approx(1.2 * planned, rel=1e-5)


def test_after_ten_attempts_a_delivery_is_exhausted() -> None:
    assert settlement_of(delivery(8), answered(500), 0.5).status == "pending"
    last = settlement_of(delivery(9), answered(500), 0.5)
    assert (last.status, last.due_at, last.lease_token) == ("exhausted", None, 7)


@pytest.mark.parametrize(
    ("code", "asked", "waited"),
    [
        (429, 100, 100),
        (503, 100, 100),
        (503, 1, 5),
        (429, 10 * DAY, DAY),
        (500, 100, 5),
        (404, 100, 5),
        (None, 100, 5),
    ],
)
def test_what_a_receiver_asks_for_is_obeyed_where_it_may_ask(code: int | None, asked: float, waited: float) -> None:
    settlement = settlement_of(delivery(), answered(code, retry_after=asked), 0.5, now=20_000)
    assert settlement.due_at == 20_000 + waited * 1000


@pytest.mark.parametrize("code", [200, 201, 204, 299])
def test_any_2xx_is_delivered(code: int) -> None:
    assert settlement_of(delivery(), answered(code), 0.5).status == "delivered"


def test_410_ends_a_delivery_and_disables_its_endpoint() -> None:
    gone = answered(410)
    assert settlement_of(delivery(), gone, 0.5).status == "disabled"
    after = after_attempt(ENDPOINT, is_delivered=False, is_gone=gone.is_gone, now=1)
    assert after is not None
    assert not after.is_enabled
    assert after.revision == ENDPOINT.revision + 1


def test_an_endpoint_that_only_fails_for_120_hours_is_disabled() -> None:
    first = after_attempt(ENDPOINT, is_delivered=False, is_gone=False, now=5)
    assert first is not None
    assert first.is_enabled
    assert after_attempt(first, is_delivered=False, is_gone=False, now=5 + FAILING_MS - 1) is None
    last = after_attempt(first, is_delivered=False, is_gone=False, now=5 + FAILING_MS)
    assert last is not None
    assert (last.is_enabled, state_of(last).disabled_because) == (False, "every attempt of 120 hours failed")


def test_one_success_forgives_an_endpoint() -> None:
    failing = after_attempt(ENDPOINT, is_delivered=False, is_gone=False, now=5)
    assert failing is not None
    well = after_attempt(failing, is_delivered=True, is_gone=False, now=6)
    assert well is not None
    assert state_of(well).failing_since is None
    assert after_attempt(well, is_delivered=True, is_gone=False, now=7) is None


def test_the_previous_secret_signs_in_its_overlap_only() -> None:
    rotated = changed(ENDPOINT, EndpointState(previous_until=100))
    assert list(secrets_of(rotated, 99)) == ["new", "old"]
    assert list(secrets_of(rotated, 100)) == ["new"]
    assert list(secrets_of(ENDPOINT, 0)) == ["new"]
