"""The other calls: which request each makes, and what it returns; with asyncio and without."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import httpx
import pytest

from asyncinfer.client import ConnectionLost
from asyncinfer.errors import InvalidOption, JobFailed, StreamReset
from asyncinfer.wire import OutputEvent, StatusEvent
from tests.client.fake_service import FakeService, failed_error, job, job_json, stream
from tests.client.test_events import RUNNING, SNAPSHOT, done, output, reset


def page(*ids: str, next_cursor: str | None = None) -> httpx.Response:
    data = [job_json(id=one) for one in ids]
    return httpx.Response(200, json={"object": "list", "data": data, "next_cursor": next_cursor, "prev_cursor": None})


async def test_jobs_are_listed_page_by_page() -> None:
    service = FakeService(page("c", "b", next_cursor="n1"), page("a"))

    async with service.client() as client:
        assert [one.id async for one in client.jobs(model="echo")] == ["c", "b", "a"]

    assert service.asked == [
        "GET /inference/v1/jobs?model=echo&limit=200",
        "GET /inference/v1/jobs?model=echo&limit=200&after=n1",
    ]


async def test_no_more_jobs_are_asked_for_than_wanted() -> None:
    service = FakeService(page("c", "b", next_cursor="n1"))

    async with service.client() as client:
        assert [one.id async for one in client.jobs(limit=2)] == ["c", "b"]

    assert service.asked == ["GET /inference/v1/jobs?limit=2"]


async def test_filters_go_out_as_the_contract_names_them() -> None:
    service = FakeService(page())
    at = datetime(2027, 1, 15, tzinfo=UTC)

    async with service.client() as client:
        await client.page(status=("queued", "running"), queue="q", labels={"a b": "c&d"}, created_after=at, limit=7)

    assert dict(service.requests[0].url.params) == {
        "status": "queued,running",
        "queue": "q",
        "label.a b": "c&d",
        "created_after": "2027-01-15T00:00:00+00:00",
        "limit": "7",
    }
    assert b"+" not in service.requests[0].url.raw_path.replace(b"a+b", b"")


@pytest.mark.parametrize("limit", [0, 201])
async def test_a_page_has_a_size(limit: int) -> None:
    async with FakeService(page()).client() as client:
        with pytest.raises(InvalidOption, match="limit"):
            await client.page(limit=limit)


async def test_a_naive_instant_is_refused() -> None:
    async with FakeService(page()).client() as client:
        with pytest.raises(InvalidOption, match="created_after"):
            await client.page(created_after=datetime(2027, 1, 15))  # noqa: DTZ001  the point


async def test_a_job_is_looked_at_canceled_run_again_and_deleted() -> None:
    service = FakeService(job("running"), job("canceled"), job(id="job_2"), httpx.Response(204), job("queued"))

    async with service.client() as client:
        remote = client.job("job_1")
        assert await remote.status() == "running"
        assert (await remote.cancel()).status == "canceled"
        assert (await remote.retry()).id == "job_2"
        await remote.delete()
        await remote.job(with_input=True, with_attempts=True)

    assert service.asked == [
        "GET /inference/v1/jobs/job_1",
        "POST /inference/v1/jobs/job_1/cancel",
        "POST /inference/v1/jobs/job_1/retry",
        "DELETE /inference/v1/jobs/job_1",
        "GET /inference/v1/jobs/job_1?include=input%2Cattempts",
    ]


async def test_looking_up_nothing_asks_nothing() -> None:
    service = FakeService(job())

    async with service.client() as client:
        assert client.job("job_1").record is None
        with pytest.raises(InvalidOption, match="job_id"):
            client.job("../models")

    assert service.requests == []


def test_code_without_asyncio_submits_and_waits() -> None:
    service = FakeService(httpx.ReadError("lost"), job(http_status=202), job("succeeded", output=7))

    with service.sync_client() as client:
        remote = client.submit("echo", {"text": "a"})
        assert remote.result(type=int) == 7

    assert len(set(service.header("idempotency-key")[:2])) == 1
    assert service.timing.waits == [0.5]


def test_code_without_asyncio_hears_of_failures() -> None:
    service = FakeService(job("failed", error=failed_error()), httpx.ConnectError("down"))

    with service.sync_client(max_retries=1) as client:
        with pytest.raises(JobFailed):
            client.job("job_1").result()
        with pytest.raises(ConnectionLost) as caught:
            client.submit("echo", idempotency_key="order-7")

    assert caught.value.idempotency_key == "order-7"


def test_code_without_asyncio_follows_events() -> None:
    service = FakeService(
        stream(SNAPSHOT, RUNNING, output(3, "a")[:-5], is_cut=True), stream(SNAPSHOT, output(3, "a"), done(4))
    )

    with service.sync_client() as client:
        events = list(client.job("job_1").events())

    assert [type(event) for event in events] == [StatusEvent, OutputEvent, StatusEvent]
    assert service.header("last-event-id") == [None, "2"]


def test_code_without_asyncio_streams_values() -> None:
    service = FakeService(stream(SNAPSHOT, output(3, "a"), reset(2), output(5, "a", 2), done(6, attempt=2)))

    with service.sync_client() as client:
        values = client.job("job_1").stream(type=str)
        assert next(values) == "a"
        with pytest.raises(StreamReset):
            next(values)


def test_code_without_asyncio_lists_jobs() -> None:
    with FakeService(page("b", next_cursor="n1"), page("a")).sync_client() as client:
        assert [one.id for one in client.jobs()] == ["b", "a"]


def test_without_httpx_the_import_says_what_to_type() -> None:
    script = (
        "import sys; sys.modules['httpx'] = None\n"
        "try: import asyncinfer.client\n"
        "except ImportError as error: print(type(error).__name__, error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)

    assert run.stdout == "MissingExtra asyncinfer.client needs httpx: pip install 'asyncinfer[client]'\n"
