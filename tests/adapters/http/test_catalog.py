"""Models, queues, and what the service tells of itself."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from asyncinfer import JobManager, Limits, QueueLimits
from asyncinfer.adapters.http import create_app
from tests.adapters.http.conftest import connected
from tests.adapters.http.models import ALL, waits_for_ever
from tests.adapters.http.steps import BASE, pointer_of, running, slug_of, submitted


async def test_models_are_listed_by_name(client: httpx.AsyncClient) -> None:
    answered = await client.get("/v1/models")
    listed = answered.json()
    assert (answered.status_code, listed["object"]) == (200, "list")
    assert [one["name"] for one in listed["data"]] == sorted(one.name for one in ALL)


async def test_a_model_tells_its_schemas_and_limits(client: httpx.AsyncClient) -> None:
    answered = await client.get("/v1/models/mirror")
    told: dict[str, Any] = answered.json()
    assert answered.status_code == 200
    assert (told["object"], told["name"], told["queue"], told["executor"]) == ("model", "mirror", "default", "loop")
    assert told["input_schema"]["required"] == ["point"]
    assert told["max_attempts"] == 1
    assert told["state"] == "warm"
    assert told["max_input_bytes"] == told["max_output_bytes"] == Limits().input_bytes
    assert (told["time_limit_seconds"], told["queue_timeout_seconds"]) == (None, None)


@pytest.mark.parametrize("name", ["nobody", "%00", "%FF", "a.b", "x" * 300])
async def test_a_model_that_nobody_has_is_unknown(client: httpx.AsyncClient, name: str) -> None:
    answered = await client.get(f"/v1/models/{name}")
    assert (answered.status_code, slug_of(answered)) == (404, "model-not-found")


async def test_a_queue_tells_how_the_callers_jobs_stand() -> None:
    limits = Limits(queues={"slow": QueueLimits(queued_jobs=2)})
    async with (
        JobManager("memory://", models=ALL, limits=limits, concurrency=1, cancel_grace=0.5, drain_grace=0) as manager,
        connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client,
    ):
        await running(client)
        await manager.scoped("somebody").submit(waits_for_ever)
        one_of_two = (await client.get("/v1/queues/slow")).json()
        await submitted(client, "waits_for_ever")
        full = (await client.get("/v1/queues/slow")).json()
    assert {**one_of_two, "oldest_age_seconds": None} == {
        "object": "queue", "name": "slow", "depth": 0, "running": 1, "oldest_age_seconds": None, "capacity": 2,
        "accepting": True, "paused": False,
    }  # fmt: skip
    assert (full["depth"], full["running"], full["accepting"]) == (1, 1, False)
    assert full["oldest_age_seconds"] >= 0


async def test_a_paused_queue_says_so_even_to_those_without_jobs(
    client: httpx.AsyncClient, manager: JobManager
) -> None:
    await manager.pause("slow")
    assert (await client.get("/v1/queues/slow")).json()["paused"]
    await manager.resume("slow")
    assert not (await client.get("/v1/queues/slow")).json()["paused"]


async def test_a_queue_without_a_model_is_not_there(client: httpx.AsyncClient) -> None:
    answers = [await client.get("/v1/queues/nowhere"), await client.post("/v1/queues/nowhere/purge")]
    assert [(one.status_code, slug_of(one)) for one in answers] == [(404, "not-found")] * 2


async def test_a_purge_cancels_the_callers_waiting_jobs_only(client: httpx.AsyncClient, manager: JobManager) -> None:
    runs = await running(client)
    await manager.pause("slow")
    waits = await submitted(client, "waits_for_ever")
    others = await manager.scoped("somebody").submit(waits_for_ever)
    answered = await client.post("/v1/queues/slow/purge")
    assert (answered.status_code, answered.json()) == (200, {"object": "list", "data": [waits["id"]]})
    statuses = [(await client.get(f"/v1/jobs/{job['id']}")).json()["status"] for job in (runs, waits)]
    assert statuses == ["running", "canceled"]
    assert await others.status() == "queued"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/echo", "/v1/queues/slow"])
async def test_the_catalog_takes_no_query(client: httpx.AsyncClient, path: str) -> None:
    assert pointer_of(await client.get(f"{path}?limit=1")) == "limit"


async def test_the_service_says_where_to_go_on(client: httpx.AsyncClient) -> None:
    told = (await client.get("/")).json()
    assert (told["object"], told["name"]) == ("service", "asyncinfer")
    assert told["links"]["jobs"] == f"{BASE}/v1/jobs"
    for name in ("jobs", "models", "openapi", "live", "ready"):
        assert (await client.get(told["links"][name])).status_code == 200


async def test_what_is_not_there_is_not_found(client: httpx.AsyncClient) -> None:
    for path in ("/nothing", "/v1", "/v1/jobs/", "/v1/jobs/a/b/c", "/v1/jobs//result", "//v1/jobs", "/healthz/"):
        answered = await client.get(httpx.URL(BASE).copy_with(raw_path=path.encode()))
        assert (answered.status_code, slug_of(answered)) == (404, "not-found")


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/v1/jobs", "POST, GET, HEAD, OPTIONS"),
        ("/v1/jobs/job_1", "PUT, GET, DELETE, HEAD, OPTIONS"),
        ("/v1/jobs/job_1/cancel", "POST, OPTIONS"),
        ("/healthz", "GET, HEAD, OPTIONS"),
    ],
)
async def test_other_methods_are_answered_with_those_that_are_allowed(
    client: httpx.AsyncClient, path: str, allow: str
) -> None:
    refused = await client.patch(path)
    assert (refused.status_code, slug_of(refused), refused.headers["allow"]) == (405, "method-not-allowed", allow)
    asked = await client.options(path)
    assert (asked.status_code, asked.headers["allow"]) == (204, allow)
