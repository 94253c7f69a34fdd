"""Alone with its own lifespan, or mounted in Starlette or FastAPI under a prefix; closed and draining managers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Message, Receive, Scope, Send

from asyncinfer import JobManager
from asyncinfer.adapters.http import create_app
from asyncinfer.adapters.webhook import Secret, WebhookSender
from tests.adapters.http.conftest import connected
from tests.adapters.http.models import ALL
from tests.adapters.http.serving import served, served_in_thread
from tests.adapters.http.steps import BASE, request_of, running, slug_of

PUBLIC = "https://api.example.com/ai/inference"


def in_starlette(manager: JobManager) -> Starlette:
    inner = create_app(manager, public_base_url=PUBLIC + "/", allow_anonymous=True)
    return Starlette(routes=[Mount("/ai/inference", app=inner)])


def in_fastapi(manager: JobManager) -> Starlette:
    app = FastAPI()
    app.mount("/ai/inference", create_app(manager, public_base_url=PUBLIC, allow_anonymous=True))
    return app


@pytest.mark.parametrize("mounted", [in_starlette, in_fastapi])
async def test_mounted_under_a_prefix_its_links_lead_back_to_it(
    manager: JobManager, mounted: Callable[[JobManager], Starlette]
) -> None:
    async with connected(mounted(manager), headers={"Host": "evil.example"}) as client:
        accepted = await client.post(f"{PUBLIC}/v1/jobs", json=request_of("echo", {"text": "hi"}))
        assert accepted.headers["location"].startswith(f"{PUBLIC}/v1/jobs/job_")
        links = accepted.json()["links"]
        followed = [await client.get(links[name]) for name in ("self", "events")]
        service = await client.get(f"{PUBLIC}/")
        told = [(await client.get(link)).status_code for link in service.json()["links"].values()]
        document = (await client.get(f"{PUBLIC}/openapi.json")).json()
        nothing = await client.get(f"{PUBLIC}/nothing")
    assert {link.partition("/v1")[0] for link in links.values()} == {PUBLIC}
    assert [one.status_code for one in followed] == [200, 200]
    assert set(told) == {200}
    assert document["servers"] == [{"url": PUBLIC}]
    assert slug_of(nothing) == "not-found"


async def test_no_answer_leads_to_where_the_request_says_it_came_from(client: httpx.AsyncClient) -> None:
    evil = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    answers = [
        await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}), headers=evil),
        await client.get("/v1/jobs", headers=evil, params={"limit": 1}), await client.get("/", headers=evil),
        await client.get("/openapi.json", headers=evil), await client.get("/v1/jobs/", headers=evil),
    ]  # fmt: skip
    assert not any("evil" in one.text + str(one.headers) for one in answers)
    assert not any(one.is_redirect for one in answers)


def test_alone_its_lifespan_opens_and_closes_the_manager() -> None:
    manager = JobManager("memory://", models=ALL, drain_grace=0)

    with (
        served_in_thread(lambda url: create_app(manager, public_base_url=url, allow_anonymous=True)) as url,
        httpx.Client(base_url=url) as client,
    ):
        assert manager.is_open
        done = client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}), headers={"Prefer": "wait=10"})
        assert done.json()["output"] == "hi"
        assert client.get(done.headers["location"]).json()["output"] == "hi"
    assert not manager.is_open


async def test_a_manager_that_is_open_already_is_left_to_whoever_opened_it(manager: JobManager) -> None:
    app = create_app(manager, public_base_url=BASE, allow_anonymous=True)
    async with lifespan_of(app):
        assert manager.is_open
    assert manager.is_open


async def test_alone_its_lifespan_runs_the_sender_too() -> None:
    manager = JobManager("memory://", models=ALL, drain_grace=0)
    sender = WebhookSender(manager, secret=Secret.new())
    app = create_app(manager, public_base_url=BASE, allow_anonymous=True, webhooks=sender)

    async with lifespan_of(app):
        assert sender.is_running
    assert not sender.is_running


async def test_a_sender_that_runs_already_is_left_to_whoever_entered_it(manager: JobManager) -> None:
    async with WebhookSender(manager, secret=Secret.new()) as sender:
        app = create_app(manager, public_base_url=BASE, allow_anonymous=True, webhooks=sender)
        async with lifespan_of(app):
            assert sender.is_running
        assert sender.is_running


async def test_a_stream_over_http_ends_before_the_server_has_to_cut_it(manager: JobManager) -> None:
    app = create_app(manager, public_base_url=BASE, allow_anonymous=True)
    async with served(app) as url, httpx.AsyncClient(base_url=url) as client:
        job = await running(client)
        headers = {"Accept": "text/event-stream"}
        async with client.stream("GET", f"/v1/jobs/{job['id']}/events", headers=headers) as stream:
            lines = stream.aiter_lines()
            await anext(lines)
            async with asyncio.timeout(5):
                await manager.drain(0)
                assert [line async for line in lines]


async def test_a_draining_manager_takes_nothing_but_still_tells(client: httpx.AsyncClient, manager: JobManager) -> None:
    job = (await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}), headers={"Prefer": "wait=10"})).json()
    await manager.drain(0)
    refused = await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}))
    assert (refused.status_code, slug_of(refused)) == (503, "draining")
    assert int(refused.headers["retry-after"]) >= 1
    assert (await client.get(f"/v1/jobs/{job['id']}")).json() == job
    assert (await client.get(f"/v1/jobs/{job['id']}/result")).json() == "hi"
    assert len((await client.get("/v1/jobs")).json()["data"]) == 1


async def test_a_wait_is_sent_away_when_the_manager_drains(client: httpx.AsyncClient, manager: JobManager) -> None:
    job = await running(client)
    waiting = asyncio.create_task(client.get(f"/v1/jobs/{job['id']}", params={"wait": 30}))
    await asyncio.sleep(0.05)  # until it waits
    await manager.drain(0)
    async with asyncio.timeout(5):
        answered = await waiting
    assert (answered.status_code, slug_of(answered), answered.headers["retry-after"]) == (503, "draining", "1")


async def test_a_submit_that_waits_is_answered_with_its_stored_job_when_the_manager_drains(
    client: httpx.AsyncClient, manager: JobManager
) -> None:
    body = request_of("waits_for_ever")
    waiting = asyncio.create_task(client.put("/v1/jobs/mine", json=body, headers={"Prefer": "wait=30"}))
    await asyncio.sleep(0.05)  # until it waits
    await manager.drain(0)
    async with asyncio.timeout(5):
        answered = await waiting
    assert (answered.status_code, answered.json()["id"], answered.json()["status"]) == (202, "mine", "queued")


@asynccontextmanager
async def lifespan_of(app: Starlette) -> AsyncGenerator[None]:
    """Run an application's lifespan, as a server does."""
    to_app: asyncio.Queue[Message] = asyncio.Queue()
    from_app: asyncio.Queue[Message] = asyncio.Queue()
    receive: Receive = to_app.get
    send: Send = from_app.put
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    async with asyncio.TaskGroup() as group:
        group.create_task(app(scope, receive, send))
        await to_app.put({"type": "lifespan.startup"})
        assert (await from_app.get())["type"] == "lifespan.startup.complete"
        yield
        await to_app.put({"type": "lifespan.shutdown"})
        assert (await from_app.get())["type"] == "lifespan.shutdown.complete"
