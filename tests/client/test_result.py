"""Waiting for a job: long polls one after the other, through outages, until it has ended."""

from __future__ import annotations

from typing import Any, cast

import httpx
import pytest
from msgspec import Struct
from pydantic import BaseModel

from asyncinfer.client import ConnectionLost, ServiceFailed, UnexpectedAnswer
from asyncinfer.errors import JobCanceled, JobExpired, JobFailed, UnknownJob
from tests.client.fake_service import FakeService, Step, failed_error, job, page_of, problem

POLL = "GET /inference/v1/jobs/job_1?wait=30"


class Caption(Struct):
    text: str
    image: bytes


def held(service: FakeService, seconds: float = 30.0) -> Step:
    """Answer only after the service held the request so long."""

    def step(request: httpx.Request) -> httpx.Response:
        service.timing.now += seconds
        return job("running", retry_after_seconds=2)

    return step


async def test_a_result_is_polled_for_until_the_job_has_ended() -> None:
    service = FakeService()
    service.steps = [held(service), held(service), job("succeeded", output={"a": [1]})]

    async with service.client() as client:
        assert await client.job("job_1").result() == {"a": [1]}

    assert service.asked == [POLL] * 3
    assert service.timing.waits == []


async def test_a_job_is_awaited_for_its_result() -> None:
    async with FakeService(job("succeeded", output="a")).client() as client:
        assert await client.job("job_1") == "a"


async def test_a_result_is_decoded_as_a_type() -> None:
    async with FakeService(job("succeeded", output={"text": "cat", "image": "//4="})).client() as client:
        assert await client.job("job_1").result(type=Caption) == Caption("cat", b"\xff\xfe")


async def test_a_result_is_decoded_as_a_pydantic_model() -> None:
    class Shape(BaseModel):
        sides: int

    async with FakeService(job("succeeded", output=[{"sides": 3}])).client() as client:
        assert await client.job("job_1").result(type=list[Shape]) == [Shape(sides=3)]


@pytest.mark.parametrize("kind", [Caption, int, list[int]])
async def test_a_result_that_does_not_fit_its_type_is_told(kind: Any) -> None:
    async with FakeService(job("succeeded", output={"text": 1})).client() as client:
        with pytest.raises(UnexpectedAnswer, match="job_1"):
            await client.job("job_1").result(type=kind)


async def test_a_job_that_ended_during_the_submit_is_not_asked_for_again() -> None:
    service = FakeService(job("succeeded", output=7))

    async with service.client() as client:
        remote = await client.submit("echo", wait=30)
        assert await remote.result() == 7

    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ReadError("lost"),
        httpx.ConnectError("down"),
        page_of("gateway", 502),
        problem("draining", 503, retry_after=1),
    ],
    ids=repr,
)
async def test_a_wait_goes_on_through_an_outage(trouble: Step) -> None:
    service = FakeService()
    service.steps = [held(service), *[trouble] * 20, held(service), job("succeeded", output=1)]

    async with service.client() as client:
        assert await client.job("job_1").result() == 1


async def test_an_outage_that_stays_ends_the_wait() -> None:
    service = FakeService(httpx.ConnectError("down"))

    async with service.client(reconnect_for=100) as client:
        with pytest.raises(ConnectionLost):
            await client.job("job_1").result()

    assert 100 <= service.timing.now <= 130


async def test_each_answer_renews_the_patience() -> None:
    service = FakeService()
    down: list[Step] = [page_of("broken", 500)] * 8
    service.steps = [*down, held(service), *down, held(service), *down, job("succeeded", output=1)]

    async with service.client(reconnect_for=100) as client:
        assert await client.job("job_1").result() == 1

    assert service.timing.now > 100


async def test_a_timeout_leaves_the_job() -> None:
    service = FakeService()
    service.steps = [held(service), held(service, 15.5)]

    async with service.client() as client:
        with pytest.raises(TimeoutError, match="job_1"):
            await client.job("job_1").result(timeout=45.5)

    assert service.asked == [POLL, "GET /inference/v1/jobs/job_1?wait=16"]


async def test_a_timeout_during_an_outage_is_a_timeout() -> None:
    service = FakeService(httpx.ConnectError("down"))

    async with service.client() as client:
        with pytest.raises(TimeoutError) as caught:
            await client.job("job_1").result(timeout=10)

    assert isinstance(caught.value.__cause__, ConnectionLost)
    assert service.timing.now == 10


async def test_a_timeout_of_nothing_looks_once() -> None:
    service = FakeService(job("running"), job("succeeded", output=1))

    async with service.client() as client:
        with pytest.raises(TimeoutError):
            await client.job("job_1").result(timeout=0)
        assert await client.job("job_1").result(timeout=0) == 1

    assert service.asked == ["GET /inference/v1/jobs/job_1"] * 2
    assert service.timing.waits == []


async def test_a_service_that_does_not_hold_is_not_hammered() -> None:
    service = FakeService(job("running", retry_after_seconds=4), job("queued"), job("succeeded", output=1))

    async with service.client() as client:
        await client.job("job_1").result()

    assert service.timing.waits == [4.0, 1.0]


async def test_a_failed_job_raises_its_error() -> None:
    async with FakeService(job("failed", error=failed_error("time_limit"))).client() as client:
        with pytest.raises(JobFailed, match="boom") as caught:
            await client.job("job_1").result()

    assert (caught.value.job_id, caught.value.code, caught.value.error.attempt) == ("job_1", "time_limit", 1)


async def test_a_canceled_job_raises() -> None:
    async with FakeService(job("canceled")).client() as client:
        with pytest.raises(JobCanceled, match="job_1"):
            await client.job("job_1").result()


async def test_an_unknown_job_raises_at_once() -> None:
    service = FakeService(problem("job-not-found", 404))

    async with service.client() as client:
        with pytest.raises(UnknownJob, match="job_1"):
            await client.job("job_1").result()

    assert len(service.requests) == 1


async def test_null_is_a_result() -> None:
    service = FakeService(job("succeeded"), httpx.Response(200, content=b"null"))

    async with service.client() as client:
        assert await client.job("job_1").result() is None

    assert service.asked[1] == "GET /inference/v1/jobs/job_1/result"


async def test_a_pruned_result_is_expired() -> None:
    service = FakeService(job("succeeded"), problem("job-expired", 410))

    async with service.client() as client:
        with pytest.raises(JobExpired):
            await client.job("job_1").result()


async def test_a_result_of_bytes_is_read_as_they_are() -> None:
    raw = httpx.Response(200, content=b"\xff\xfe", headers={"content-type": "application/octet-stream"})
    service = FakeService(job("succeeded", output="//4="), raw)

    async with service.client() as client:
        assert await client.job("job_1").result_bytes() == b"\xff\xfe"

    accepted = cast("list[str]", service.header("accept"))
    assert accepted[1].startswith("application/octet-stream")


@pytest.mark.parametrize("answer", [page_of("hello", 200), httpx.Response(200, json={"id": "job_1"})], ids=repr)
async def test_an_answer_of_something_else_is_told(answer: httpx.Response) -> None:
    async with FakeService(answer).client() as client:
        with pytest.raises(UnexpectedAnswer, match="not of this contract"):
            await client.job("job_1").result()


async def test_a_failure_that_stays_keeps_its_status() -> None:
    async with FakeService(page_of("gateway", 504)).client(reconnect_for=10) as client:
        with pytest.raises(ServiceFailed) as caught:
            await client.job("job_1").result()

    assert caught.value.status == 504
