"""Which requests are sent again, after how long, and when the client gives up."""

from __future__ import annotations

import httpx
import pytest

from asyncinfer.client import ConnectionLost, JobNotEnded, ServiceFailed
from asyncinfer.client._repeating import backoff
from asyncinfer.errors import AsyncinferError, Draining, QueueFull, QuotaExceeded, StoreUnavailable
from tests.client.fake_service import FakeService, Step, job, page_of, problem

LOST = httpx.ReadError("lost")
NOT_SENT = httpx.ConnectError("refused")
PASSING: list[Step] = [
    NOT_SENT,
    httpx.ConnectTimeout("slow"),
    httpx.ReadTimeout("slow"),
    httpx.WriteError("lost"),
    LOST,
    httpx.RemoteProtocolError("Server disconnected without sending a response."),
    page_of("time-out", 408),
    problem("job-not-terminal", 409, retry_after=5),
    problem("rate-limited", 429, retry_after=5),
    page_of("broken", 500),
    page_of("bad gateway", 502),
    problem("queue-full", 503, retry_after=5),
    page_of("gateway time-out", 504),
]
LASTING: list[Step] = [
    problem("job-not-terminal", 409),
    problem("job-not-found", 404),
    problem("job-expired", 410),
    problem("validation", 422),
    problem("unauthorized", 401),
    page_of("moved", 301),
    page_of("teapot", 418),
]


@pytest.mark.parametrize("trouble", PASSING, ids=repr)
async def test_what_may_pass_is_tried_again(trouble: Step) -> None:
    service = FakeService(trouble, job())

    async with service.client() as client:
        assert (await client.job("job_1").job()).status == "queued"

    assert len(service.requests) == 2


@pytest.mark.parametrize("trouble", LASTING, ids=repr)
async def test_what_lasts_is_raised_at_once(trouble: Step) -> None:
    service = FakeService(trouble, job())

    async with service.client() as client:
        with pytest.raises(AsyncinferError):
            await client.job("job_1").job()

    assert len(service.requests) == 1


async def test_the_service_says_how_long_to_wait() -> None:
    service = FakeService(
        problem("queue-full", 503, retry_after=7), page_of("busy", 429, **{"retry-after": "3"}), job()
    )

    async with service.client() as client:
        await client.job("job_1").job()

    assert service.timing.waits == [7.0, 3.0]


async def test_a_wait_that_the_service_asks_for_is_capped() -> None:
    service = FakeService(problem("queue-full", 503, retry_after=3600), job())

    async with service.client(timeout=100) as client:
        await client.job("job_1").job()

    assert service.timing.waits == [60.0]


async def test_a_wait_beyond_the_timeout_is_not_begun() -> None:
    service = FakeService(problem("queue-full", 503, retry_after=50), job())

    async with service.client(timeout=30) as client:
        with pytest.raises(QueueFull) as caught:
            await client.submit("echo")

    assert caught.value.retry_after == 50
    assert service.timing.waits == []


@pytest.mark.parametrize("told", ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1.5", "soon", ""])
async def test_a_retry_after_that_is_no_seconds_leaves_the_wait_to_the_backoff(told: str) -> None:
    service = FakeService(page_of("busy", 503, **{"retry-after": told}), job())

    async with service.client() as client:
        await client.job("job_1").job()

    assert service.timing.waits == [0.5]


async def test_waits_double_up_to_a_bound_and_the_retries_are_counted() -> None:
    service = FakeService(page_of("broken", 500))

    async with service.client(max_retries=7, timeout=600) as client:
        with pytest.raises(ServiceFailed) as caught:
            await client.job("job_1").job()

    assert service.timing.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
    assert caught.value.status == 500


async def test_a_call_ends_with_its_timeout() -> None:
    service = FakeService(NOT_SENT)

    async with service.client(max_retries=1000, timeout=10) as client:
        with pytest.raises(ConnectionLost):
            await client.job("job_1").job()

    assert service.timing.now < 10


async def test_without_retries_the_first_answer_stands() -> None:
    service = FakeService(LOST, job())

    async with service.client(max_retries=0) as client:
        with pytest.raises(ConnectionLost) as caught:
            await client.job("job_1").job()

    assert caught.value.is_sent
    assert len(service.requests) == 1


def test_jitter_is_full() -> None:
    assert backoff(3, 0.0) == 0.0
    assert backoff(3, 0.5) == 2.0
    assert backoff(10_000, 1.0) == 15.0


REFUSALS = [
    problem("quota-exceeded", 429, retry_after=1),
    problem("rate-limited", 429, retry_after=1),
    problem("queue-full", 503, retry_after=1),
    problem("storage-full", 503, retry_after=1),
    problem("draining", 503, retry_after=1),
]


@pytest.mark.parametrize("trouble", [NOT_SENT, httpx.ConnectTimeout("slow"), *REFUSALS], ids=repr)
async def test_a_retry_of_a_job_is_asked_again_where_nothing_was_done(trouble: Step) -> None:
    service = FakeService(trouble, job(http_status=202, id="job_2"))

    async with service.client() as client:
        assert (await client.job("job_1").retry()).id == "job_2"

    assert len(service.requests) == 2


UNSURE: list[tuple[Step, type[AsyncinferError]]] = [
    (LOST, ConnectionLost),
    (httpx.ReadTimeout("slow"), ConnectionLost),
    (page_of("bad gateway", 502), ServiceFailed),
    (page_of("unavailable", 503), ServiceFailed),
    (problem("store-unavailable", 503, retry_after=1), StoreUnavailable),
    (problem("job-not-terminal", 409, retry_after=5), JobNotEnded),
]


@pytest.mark.parametrize(("trouble", "error"), UNSURE, ids=repr)
async def test_a_retry_of_a_job_is_not_asked_again_where_it_may_have_been_done(
    trouble: Step, error: type[AsyncinferError]
) -> None:
    service = FakeService(trouble, job())

    async with service.client() as client:
        with pytest.raises(error):
            await client.job("job_1").retry()

    assert len(service.requests) == 1


async def test_a_purge_is_not_asked_again_either() -> None:
    service = FakeService(LOST, httpx.Response(200, json={"object": "list", "data": []}))

    async with service.client() as client:
        with pytest.raises(ConnectionLost):
            await client.purge("default")

    assert len(service.requests) == 1


@pytest.mark.parametrize("slug", ["queue-full", "draining", "rate-limited"])
async def test_a_refusal_that_stays_is_raised_as_what_it_is(slug: str) -> None:
    service = FakeService(problem(slug, 429 if slug == "rate-limited" else 503, retry_after=2))

    async with service.client(max_retries=2) as client:
        with pytest.raises((QueueFull, Draining, QuotaExceeded)) as caught:
            await client.submit("echo")

    assert caught.value.retry_after == 2
    assert len(service.requests) == 3
