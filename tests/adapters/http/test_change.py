"""Cancel, retry, delete."""

from __future__ import annotations

import httpx

from asyncinfer import JobManager, Limits
from asyncinfer.adapters.http import create_app
from tests.adapters.http.conftest import connected
from tests.adapters.http.models import ALL
from tests.adapters.http.steps import BASE, ended, pointer_of, running, slug_of, submitted


async def test_a_waiting_job_is_canceled(client: httpx.AsyncClient, manager: JobManager) -> None:
    await manager.pause("default")
    job = await submitted(client)
    answered = await client.post(f"/v1/jobs/{job['id']}/cancel")
    canceled = answered.json()
    assert (answered.status_code, canceled["status"]) == (200, "canceled")
    assert answered.headers["etag"] == f'W/"{canceled["revision"]}"'
    assert "retry-after" not in answered.headers


async def test_a_running_job_is_asked_to_stop(client: httpx.AsyncClient) -> None:
    job = await running(client)
    answered = await client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (answered.status_code, answered.headers["retry-after"]) == (202, "1")
    assert answered.json()["cancel_requested_at"] is not None
    ended = await client.get(f"/v1/jobs/{job['id']}", params={"wait": 10})
    assert ended.json()["status"] == "canceled"


async def test_an_ended_job_stays_as_it_is(client: httpx.AsyncClient) -> None:
    job = await ended(client)
    answered = await client.post(f"/v1/jobs/{job['id']}/cancel")
    assert (answered.status_code, answered.json()) == (200, job)


async def test_a_retry_is_a_new_job(client: httpx.AsyncClient) -> None:
    job = await ended(client, labels={"run": "7"}, metadata=[1])
    answered = await client.post(f"/v1/jobs/{job['id']}/retry")
    again = answered.json()
    assert (answered.status_code, again["retry_of"], again["status"]) == (202, job["id"], "queued")
    assert answered.headers["location"] == answered.headers["operation-location"] == f"{BASE}/v1/jobs/{again['id']}"
    assert (again["labels"], again["metadata"]) == ({"run": "7"}, [1])
    done = (await client.get(f"/v1/jobs/{again['id']}", params={"wait": 10})).json()
    assert (done["status"], done["output"]) == ("succeeded", "hello")
    assert (await client.get(f"/v1/jobs/{job['id']}")).json() == job


async def test_a_job_that_has_not_ended_is_not_retried(client: httpx.AsyncClient) -> None:
    job = await running(client)
    answered = await client.post(f"/v1/jobs/{job['id']}/retry")
    assert (answered.status_code, slug_of(answered)) == (409, "job-not-terminal")
    assert answered.headers["retry-after"] == "5"


async def test_a_retry_into_a_full_queue_is_refused() -> None:
    async with (
        JobManager("memory://", models=ALL, limits=Limits(queued_jobs=1), run_jobs=False) as manager,
        connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client,
    ):
        job = await submitted(client)
        await client.post(f"/v1/jobs/{job['id']}/cancel")
        await submitted(client)
        answered = await client.post(f"/v1/jobs/{job['id']}/retry")
    assert (answered.status_code, slug_of(answered)) == (503, "queue-full")


async def test_an_ended_job_is_forgotten(client: httpx.AsyncClient) -> None:
    job = await ended(client)
    answered = await client.delete(f"/v1/jobs/{job['id']}")
    assert (answered.status_code, answered.content) == (204, b"")
    assert "content-length" not in answered.headers
    gone = await client.get(f"/v1/jobs/{job['id']}")
    assert (gone.status_code, slug_of(gone)) == (410, "job-expired")
    assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_what_is_forgotten_is_gone_for_every_change(client: httpx.AsyncClient) -> None:
    job = await ended(client)
    url = f"/v1/jobs/{job['id']}"
    await client.delete(url)
    answers = [await client.post(f"{url}/cancel"), await client.post(f"{url}/retry"), await client.delete(url)]
    assert [(one.status_code, slug_of(one)) for one in answers] == [(410, "job-expired")] * 3


async def test_a_waiting_job_is_canceled_and_forgotten(client: httpx.AsyncClient, manager: JobManager) -> None:
    await manager.pause("default")
    job = await submitted(client)
    assert (await client.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    assert (await client.get(f"/v1/jobs/{job['id']}")).status_code == 410


async def test_a_running_job_is_not_forgotten(client: httpx.AsyncClient) -> None:
    job = await running(client)
    answered = await client.delete(f"/v1/jobs/{job['id']}")
    assert (answered.status_code, slug_of(answered)) == (409, "job-not-terminal")
    assert answered.headers["retry-after"] == "5"
    assert (await client.get(f"/v1/jobs/{job['id']}")).json()["status"] == "running"


async def test_changes_take_no_query(client: httpx.AsyncClient) -> None:
    job = await ended(client)
    answered = await client.delete(f"/v1/jobs/{job['id']}?force=1")
    assert pointer_of(answered) == "force"
    assert (await client.get(f"/v1/jobs/{job['id']}")).status_code == 200
