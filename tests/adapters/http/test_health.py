"""/healthz and /readyz."""

from __future__ import annotations

import httpx

from asyncinfer import JobManager
from asyncinfer.adapters.http import create_app
from asyncinfer.errors import StoreUnavailable
from asyncinfer.testing import FaultyStore
from asyncinfer_memory import MemoryStore
from tests.adapters.http.conftest import connected
from tests.adapters.http.models import ALL
from tests.adapters.http.steps import BASE, request_of, slug_of


async def test_an_open_manager_is_live_and_ready(client: httpx.AsyncClient) -> None:
    answers = [await client.get("/healthz"), await client.get("/readyz")]
    assert [(one.status_code, one.json()) for one in answers] == [(200, {"status": "ok", "reasons": []})] * 2


async def test_a_draining_manager_is_live_but_not_ready(client: httpx.AsyncClient, manager: JobManager) -> None:
    await manager.drain(0)
    live, ready = await client.get("/healthz"), await client.get("/readyz")
    assert (live.status_code, ready.status_code) == (200, 503)
    assert ready.json() == {"status": "unavailable", "reasons": ["draining"]}
    assert ready.headers["retry-after"] == "5"


async def test_health_is_asked_without_a_name() -> None:
    async def nobody(request: object) -> None:
        raise AssertionError("health asks nobody's name")

    async with (
        JobManager("memory://", models=ALL) as manager,
        connected(create_app(manager, public_base_url=BASE, authenticate=nobody)) as client,
    ):
        for path in ("/healthz", "/readyz", "/openapi.json", "/"):
            assert (await client.get(path)).status_code == 200


async def test_a_closed_manager_is_neither_and_its_routes_say_so() -> None:
    manager = JobManager("memory://", models=ALL)
    async with connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client:
        await _assert_closed(client)
        async with manager:
            assert (await client.get("/readyz")).status_code == 200
            assert (await client.get("/v1/jobs")).status_code == 200
        await _assert_closed(client)


async def _assert_closed(client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/readyz"):
        answered = await client.get(path)
        assert (answered.status_code, answered.json()["reasons"]) == (503, ["the manager is not open"])
    for answered in [
        await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"})),
        await client.get("/v1/jobs/job_1"),
        await client.get("/v1/models"),
    ]:
        assert (answered.status_code, slug_of(answered), answered.headers["retry-after"]) == (503, "draining", "1")
    assert (await client.get("/openapi.json")).status_code == 200
    assert (await client.get("/")).status_code == 200


async def test_a_store_that_does_not_answer_is_told_without_its_error() -> None:
    async with MemoryStore() as memory:
        store = FaultyStore(memory)
        async with (
            JobManager(store, models=ALL, drain_grace=0) as manager,
            connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client,
        ):
            for call in ("workers", "get"):
                store.fail(call, StoreUnavailable)
            ready = await client.get("/readyz")
            refused = await client.get("/v1/jobs/job_1")
            afterwards = await client.get("/readyz")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["store"])
    assert (refused.status_code, slug_of(refused), refused.headers["retry-after"]) == (503, "store-unavailable", "1")
    assert afterwards.status_code == 200
