"""GET /v1/jobs/{id}/events: a page of JSON, or a stream of server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from httpx_sse import EventSource, ServerSentEvent

from asyncinfer import JobManager, Limits
from asyncinfer.adapters.http import Bounds, create_app
from tests.adapters.http.conftest import connected
from tests.adapters.http.models import ALL
from tests.adapters.http.serving import served
from tests.adapters.http.steps import BASE, ended, pointer_of, running, slug_of, submitted

STREAM = {"Accept": "text/event-stream"}


async def stream(client: httpx.AsyncClient, job_id: str, **headers: str) -> list[ServerSentEvent]:
    """Return a job's whole stream."""
    async with client.stream("GET", f"/v1/jobs/{job_id}/events", headers={**STREAM, **headers}) as answered:
        assert answered.status_code == 200
        return [event async for event in EventSource(answered).aiter_sse()]


async def test_a_page_has_the_events_in_order(client: httpx.AsyncClient) -> None:
    job = await ended(client, "counts", {"up_to": 3})
    answered = await client.get(f"/v1/jobs/{job['id']}/events")
    page = answered.json()
    assert (answered.status_code, answered.headers["vary"]) == (200, "Accept")
    assert (page["object"], page["has_gap"], page["has_more"]) == ("list", False, False)
    ids = [event["id"] for event in page["data"]]
    assert ids == sorted(set(ids))
    assert [event["value"] for event in page["data"] if event["kind"] == "output"] == [0, 1, 2]
    assert [event["status"] for event in page["data"] if event["kind"] == "status"] == [
        "queued", "running", "succeeded",
    ]  # fmt: skip
    assert page["next_cursor"] == str(ids[-1]) == str(job["revision"])


async def test_a_page_goes_on_behind_its_cursor(client: httpx.AsyncClient) -> None:
    job = await ended(client, "counts", {"up_to": 3})
    url = f"/v1/jobs/{job['id']}/events"
    whole = (await client.get(url)).json()["data"]
    first = (await client.get(url, params={"limit": 2})).json()
    rest = (await client.get(url, params={"after": first["next_cursor"]})).json()
    assert (await client.get(url, headers={"Last-Event-ID": first["next_cursor"]})).json() == rest
    assert first["has_more"]
    assert first["data"] + rest["data"] == whole
    nothing = (await client.get(url, params={"after": rest["next_cursor"]})).json()
    assert (nothing["data"], nothing["next_cursor"]) == ([], rest["next_cursor"])


@pytest.mark.parametrize("query", ["after=-1", "after=1e3", "after=%D9%A1", "limit=0", "limit=1001", "limit=", "id=1"])
async def test_a_wrong_query_is_named(client: httpx.AsyncClient, query: str) -> None:
    job = await submitted(client)
    answered = await client.get(f"/v1/jobs/{job['id']}/events?{query}")
    assert (answered.status_code, pointer_of(answered)) == (422, query.partition("=")[0])


async def test_a_stream_tells_the_whole_life_and_ends_with_the_job(client: httpx.AsyncClient) -> None:
    job = await ended(client, "counts", {"up_to": 2})
    events = await stream(client, job["id"])
    kinds = [event.event for event in events if event.event != "progress"]
    assert kinds == ["snapshot", "status", "status", "output", "output", "done"]
    assert [json.loads(event.data)["value"] for event in events if event.event == "output"] == [0, 1]
    assert json.loads(events[0].data)["id"] == job["id"]
    done = json.loads(events[-1].data)
    assert (done["event"]["status"], done["job"]) == ("succeeded", job)
    assert (events[-1].id, events[0].retry) == (str(job["revision"]), 2_000)


async def test_only_durable_events_have_ids_and_they_are_those_of_the_page(client: httpx.AsyncClient) -> None:
    job = await ended(client, "fails_once", {"text": "hi"})
    page = (await client.get(f"/v1/jobs/{job['id']}/events")).json()["data"]
    answered = await client.get(f"/v1/jobs/{job['id']}/events", headers=STREAM)
    frames = [frame.split("\n") for frame in answered.text.split("\n\n")]
    told = [lines for lines in frames if any(line.startswith("id:") for line in lines)]
    assert [lines[0] for lines in told] == [f"id: {event['id']}" for event in page if event["kind"] != "progress"]
    unnumbered = {line for lines in frames if lines not in told for line in lines if line.startswith("event:")}
    assert unnumbered == {"event: snapshot", "event: reset"}


async def test_a_new_attempt_is_opened_by_a_reset(client: httpx.AsyncClient) -> None:
    job = await ended(client, "fails_once", {"text": "hi"})
    events = await stream(client, job["id"])
    (reset,) = [json.loads(event.data) for event in events if event.event == "reset"]
    assert reset["attempt"] == 2
    outputs = [json.loads(event.data) for event in events if event.event == "output"]
    assert [(event["attempt"], event["value"]) for event in outputs] == [(1, "hi"), (2, "hi")]


async def test_a_stream_goes_on_behind_the_last_event_id_which_wins_over_the_query(client: httpx.AsyncClient) -> None:
    job = await ended(client, "counts", {"up_to": 3})
    outputs = [event for event in await stream(client, job["id"]) if event.event == "output"]
    async with client.stream(
        "GET", f"/v1/jobs/{job['id']}/events?after=0", headers={**STREAM, "Last-Event-ID": outputs[1].id}
    ) as answered:
        rest = [event async for event in EventSource(answered).aiter_sse()]
    assert [event.event for event in rest] == ["snapshot", "output", "done"]
    assert (rest[1].id, rest[1].data) == (outputs[2].id, outputs[2].data)


async def test_a_stream_that_was_read_to_its_end_has_nothing_left(client: httpx.AsyncClient) -> None:
    job = await ended(client)
    answered = await client.get(
        f"/v1/jobs/{job['id']}/events", headers={**STREAM, "Last-Event-ID": str(job["revision"])}
    )
    assert (answered.status_code, answered.content) == (204, b"")


async def test_an_id_from_beyond_the_end_counts_as_the_end(client: httpx.AsyncClient) -> None:
    job = await ended(client)
    answered = await client.get(f"/v1/jobs/{job['id']}/events?after=999999999", headers=STREAM)
    assert answered.status_code == 204


async def test_a_stream_behind_lost_events_says_so_and_shows_the_job() -> None:
    async with (
        JobManager("memory://", models=ALL, limits=Limits(events_per_job=3)) as manager,
        connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client,
    ):
        job = await ended(client, "counts", {"up_to": 50})
        events = await stream(client, job["id"])
        page = (await client.get(f"/v1/jobs/{job['id']}/events")).json()
    kinds = [event.event for event in events]
    gap = kinds.index("gap")
    assert kinds[gap + 1] == "snapshot"
    assert kinds.count("output") <= 3
    assert kinds[-1] == "done"
    assert page["has_gap"]


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "1" * 19, "\xb2"])
async def test_a_last_event_id_that_no_event_has_is_refused(client: httpx.AsyncClient, given: str) -> None:
    job = await submitted(client)
    for accept in (b"text/event-stream", b"application/json"):
        headers = {b"accept": accept, b"last-event-id": given.encode("latin-1")}
        answered = await client.get(f"/v1/jobs/{job['id']}/events", headers=headers)
        assert (answered.status_code, pointer_of(answered)) == (422, "Last-Event-ID")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/event-stream", "text/event-stream; charset=utf-8"),
        ("application/json, Text/Event-Stream;q=0.5", "text/event-stream; charset=utf-8"),
        ("text/event-stream;q=0", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
    ],
)
async def test_a_stream_is_for_those_who_name_it(client: httpx.AsyncClient, accept: str, kind: str) -> None:
    job = await ended(client)
    answered = await client.get(f"/v1/jobs/{job['id']}/events", headers={"Accept": accept})
    assert (answered.status_code, answered.headers["content-type"]) == (200, kind)


async def test_an_unknown_job_has_no_stream(client: httpx.AsyncClient) -> None:
    answered = await client.get("/v1/jobs/job_1/events", headers=STREAM)
    assert (answered.status_code, slug_of(answered)) == (404, "job-not-found")


# Over a real server, since only there an answer arrives while it is still being made.


@pytest.fixture
async def live(manager: JobManager) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(manager, public_base_url=BASE, allow_anonymous=True, bounds=Bounds(keep_alive_seconds=0.05))
    async with served(app) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


async def test_events_arrive_as_they_happen(live: httpx.AsyncClient) -> None:
    job = await running(live)
    async with live.stream("GET", f"/v1/jobs/{job['id']}/events", headers=STREAM) as answered:
        assert answered.headers["cache-control"] == "no-store"
        events = EventSource(answered).aiter_sse()
        seen = [(await anext(events)).event for _ in range(3)]
        await live.post(f"/v1/jobs/{job['id']}/cancel")
        rest = [event async for event in events]
    assert seen == ["snapshot", "status", "status"]
    assert (rest[-1].event, json.loads(rest[-1].data)["job"]["status"]) == ("done", "canceled")


async def test_a_silent_stream_is_kept_alive(live: httpx.AsyncClient) -> None:
    job = await running(live)
    async with live.stream("GET", f"/v1/jobs/{job['id']}/events", headers=STREAM) as answered:
        async with asyncio.timeout(10):
            async for line in answered.aiter_lines():
                if line == ": keep-alive":
                    break


async def test_dropping_a_stream_never_cancels_the_job(live: httpx.AsyncClient, manager: JobManager) -> None:
    job = await running(live)
    async with live.stream("GET", f"/v1/jobs/{job['id']}/events", headers=STREAM) as answered:
        await anext(answered.aiter_lines())
    still = (await live.get(f"/v1/jobs/{job['id']}", params={"wait": "0.2"})).json()
    assert (still["status"], still["cancel_requested_at"]) == ("running", None)


async def test_a_stream_ends_when_the_manager_drains(live: httpx.AsyncClient, manager: JobManager) -> None:
    job = await running(live)
    async with live.stream("GET", f"/v1/jobs/{job['id']}/events", headers=STREAM) as answered:
        events = EventSource(answered).aiter_sse()
        await anext(events)
        draining = asyncio.create_task(manager.drain(0))
        async with asyncio.timeout(10):
            rest: list[Any] = [event.event async for event in events]
    await draining
    assert "done" not in rest
