"""GET /v1/jobs/{id}: as it stands, and as soon as it has ended or changed."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from asyncinfer import JobManager, Retention
from asyncinfer.adapters.http import create_app
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore
from tests.adapters.http.conftest import connected
from tests.adapters.http.models import ALL
from tests.adapters.http.steps import BASE, ended, pointer_of, running, slug_of, submitted


async def test_a_job_is_told_as_it_stands(client: httpx.AsyncClient) -> None:
    job = await ended(client)
    answered = await client.get(f"/v1/jobs/{job['id']}")
    assert answered.status_code == 200
    assert answered.json() == job
    assert answered.headers["etag"] == f'W/"{job["revision"]}"'
    assert "retry-after" not in answered.headers


async def test_a_live_job_says_when_to_look_again(client: httpx.AsyncClient) -> None:
    job = await running(client)
    answered = await client.get(f"/v1/jobs/{job['id']}")
    assert answered.headers["retry-after"] == str(answered.json()["retry_after_seconds"]) == "1"


async def test_a_waiting_job_tells_its_place() -> None:
    async with (
        JobManager("memory://", models=ALL, concurrency=1, cancel_grace=0.5, drain_grace=0) as manager,
        connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client,
    ):
        holder = await running(client)
        waiting = [(await submitted(client, "waits_for_ever"))["id"] for _ in range(2)]
        await client.post(f"/v1/jobs/{holder['id']}/cancel")
        await client.get(f"/v1/jobs/{waiting[0]}", params={"wait": 5, "until": "change"})
        place = (await client.get(f"/v1/jobs/{waiting[1]}")).json()["queue"]
    assert (place["name"], place["position"]) == ("slow", 0)
    assert place["eta_seconds"] is None or place["eta_seconds"] >= 0


async def test_a_known_revision_is_answered_with_not_modified(client: httpx.AsyncClient) -> None:
    job = await ended(client)
    known = {"If-None-Match": f'"nonsense", W/"{job["revision"]}"'}
    answered = await client.get(f"/v1/jobs/{job['id']}", headers=known)
    assert (answered.status_code, answered.content) == (304, b"")
    assert answered.headers["etag"] == f'W/"{job["revision"]}"'
    # It would have to be the length of the answer that is not sent (RFC 9110, section 8.6).
    assert "content-length" not in answered.headers


async def test_another_revision_is_answered_with_the_job(client: httpx.AsyncClient) -> None:
    job = await ended(client)
    answered = await client.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": f'W/"{job["revision"] - 1}"'})
    assert answered.status_code == 200


async def test_a_wait_ends_with_the_job(client: httpx.AsyncClient) -> None:
    job = await running(client)
    waiting = asyncio.create_task(client.get(f"/v1/jobs/{job['id']}", params={"wait": 30}))
    await client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (await waiting).json()["status"] == "canceled"


async def test_a_wait_for_a_change_ends_with_the_next_revision(client: httpx.AsyncClient, manager: JobManager) -> None:
    await manager.pause("slow")
    job = await submitted(client, "waits_for_ever")
    known = {"If-None-Match": f'W/"{job["revision"]}"'}
    waiting = asyncio.create_task(
        client.get(f"/v1/jobs/{job['id']}", params={"wait": 30, "until": "change"}, headers=known)
    )
    await manager.resume("slow")
    answered = await waiting
    assert (answered.status_code, answered.json()["status"]) == (200, "running")


async def test_a_wait_for_a_change_that_has_happened_is_answered_at_once(client: httpx.AsyncClient) -> None:
    job = await running(client)
    known = {"If-None-Match": f'W/"{job["revision"] - 1}"'}
    async with asyncio.timeout(5):
        answered = await client.get(f"/v1/jobs/{job['id']}", params={"wait": 30, "until": "change"}, headers=known)
    assert answered.json()["revision"] == job["revision"]


async def test_a_wait_in_vain_is_answered_with_not_modified_or_the_job(client: httpx.AsyncClient) -> None:
    job = await running(client)
    url, query = f"/v1/jobs/{job['id']}", {"wait": "0.01", "until": "change"}
    unchanged = await client.get(url, params=query, headers={"If-None-Match": f'W/"{job["revision"]}"'})
    as_it_stands = await client.get(url, params=query)
    assert (unchanged.status_code, as_it_stands.status_code) == (304, 200)
    assert as_it_stands.json()["status"] == "running"


async def test_a_wait_for_an_ended_job_is_answered_at_once(client: httpx.AsyncClient) -> None:
    job = await ended(client)
    async with asyncio.timeout(5):
        answered = await client.get(f"/v1/jobs/{job['id']}", params={"wait": 30, "until": "change"})
    assert answered.status_code == 200


async def test_the_input_and_the_attempts_are_told_on_request(client: httpx.AsyncClient) -> None:
    job = await ended(client, "fails_once", {"text": "hi"})
    url = f"/v1/jobs/{job['id']}"
    both = (await client.get(url, params={"include": "input,attempts"})).json()
    assert both["input"] == {"text": "hi"}
    assert [(one["number"], one["outcome"]) for one in both["attempts"]] == [(1, "retried"), (2, "succeeded")]
    assert both["attempts"][0]["error"]["message"] == "not yet"
    only_input = (await client.get(url, params={"include": "input"})).json()
    assert "attempts" not in only_input


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("wait=-1", "wait"),
        ("wait=soon", "wait"),
        ("wait=nan", "wait"),
        ("wait=1e", "wait"),
        ("wait=1e999", "wait"),
        ("wait=%D9%A1", "wait"),
        ("until=later", "until"),
        ("include=input,secrets", "include"),
        ("wait=1&wait=2", "wait"),
        ("include=input%00", "include"),
        ("color=red", "color"),
    ],
)
async def test_a_wrong_query_is_named(client: httpx.AsyncClient, query: str, pointer: str) -> None:
    job = await submitted(client)
    answered = await client.get(f"/v1/jobs/{job['id']}?{query}")
    assert (answered.status_code, pointer_of(answered)) == (422, pointer)


@pytest.mark.parametrize("query", ["wait=%FF", "&".join(f"a{n}=1" for n in range(65))])
async def test_a_query_that_cannot_be_read_is_malformed(client: httpx.AsyncClient, query: str) -> None:
    answered = await client.get(f"/v1/jobs/job_1?{query}")
    assert (answered.status_code, slug_of(answered)) == (400, "malformed-request")


@pytest.mark.parametrize("job_id", ["job_01", "a.b", "x" * 65, "%00", "%F0%9F%92%A9"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("DELETE", ""), ("GET", "/result"), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")],
)
async def test_a_job_that_is_not_there_is_unknown(
    client: httpx.AsyncClient, job_id: str, method: str, path: str
) -> None:
    answered = await client.request(method, f"/v1/jobs/{job_id}{path}")
    assert (answered.status_code, slug_of(answered)) == (404, "job-not-found")


async def test_what_has_passed_its_retention_is_gone() -> None:
    clock = FakeClock()
    async with (
        MemoryStore(clock=clock) as store,
        JobManager(store, models=ALL, retention=Retention(result=60, record=600), drain_grace=0) as manager,
        connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client,
    ):
        job = await ended(client)
        url = f"/v1/jobs/{job['id']}"
        await clock.advance(120)
        record, no_result = await client.get(url), await client.get(f"{url}/result")
        await clock.advance(600)
        no_record = await client.get(url)
    assert (record.status_code, record.json()["output"]) == (200, None)
    assert (no_result.status_code, slug_of(no_result), no_result.json()["job_id"]) == (410, "job-expired", job["id"])
    assert (no_record.status_code, slug_of(no_record)) == (410, "job-expired")


async def test_a_head_has_the_headers_of_a_get(client: httpx.AsyncClient) -> None:
    job = await ended(client)
    get = await client.get(f"/v1/jobs/{job['id']}")
    head = await client.head(f"/v1/jobs/{job['id']}")
    assert (head.status_code, head.content, head.headers) == (200, b"", get.headers)
