"""Events as CloudEvents 1.0, as the official SDK reads them, and signed all the same."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat

from asyncinfer.adapters.webhook import verify as verify_ours
from asyncinfer.adapters.webhook._cloud_events import DEFAULT_SOURCE, headers_in
from asyncinfer.adapters.webhook._envelope import message_id
from asyncinfer.adapters.webhook._registered import Format, state_of
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.testing import FakeClock
from tests.adapters.webhook.sending import URL, Kind, Sent, bench, open_store, status, verify

BASE = "https://api.example.com/inference"
FORMS: tuple[Format, ...] = ("cloudevents-structured", "cloudevents-binary")


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return cast("Kind", request.param)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Format:
    return cast("Format", request.param)


def read(sent: Sent) -> tuple[dict[str, Any], Any]:
    """Return the attributes and the data that the SDK finds."""
    event = from_http_event(HTTPMessage(dict(sent.headers), sent.body), JSONFormat())
    return dict(event.get_attributes()), event.get_data()


async def test_an_ending_is_a_cloud_event(form: Format, kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock, public_base_url=f"{BASE}/") as b:
        endpoint = await b.sender.endpoints.register("alice", URL, format=form)
        job = await b.end(webhook=endpoint.id, owner="alice")
        await b.until(lambda: bool(b.receivers.sent))

        (sent,) = b.receivers.sent
        attributes, data = read(sent)
        ended = (await b.manager.scoped("alice").get(job)).finished_at
        assert ended is not None
        assert attributes == {
            "specversion": "1.0",
            "id": sent.id,
            "source": BASE,
            "type": "asyncinfer.job.succeeded",
            "subject": job,
            "time": datetime.fromtimestamp(ended / 1000, UTC),
            "datacontenttype": "application/json",
        }
        assert (data["id"], data["status"], data["output"]) == (job, "succeeded", "hello")
        verify(endpoint.secrets[0], sent)
        verify_ours(sent.body, sent.headers, endpoint.secrets[0], now=sent.at / 1000)


async def test_each_form_has_its_content_type() -> None:
    async with bench() as b:
        for form in ("standard", *FORMS):
            endpoint = await b.sender.endpoints.register("", URL, format=form)
            await b.sender.endpoints.test("", endpoint.id)

        standard, structured, binary = b.receivers.sent
        assert standard.headers["content-type"] == binary.headers["content-type"] == "application/json"
        assert structured.headers["content-type"] == "application/cloudevents+json"
        assert [sum(name.startswith("ce-") for name in sent.headers) for sent in b.receivers.sent] == [0, 0, 6]


async def test_every_attempt_has_the_same_bytes_and_attributes(form: Format, kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with bench(open_store(kind, tmp_path, clock), clock=clock, public_base_url=BASE) as b:
        b.receivers.answer = lambda sent: status(200 if len(b.receivers.sent) > 2 else 500)
        endpoint = await b.sender.endpoints.register("", URL, format=form)
        await b.end(webhook=endpoint.id)
        await b.until(lambda: len(b.receivers.sent) == 3, step=10)
        await b.until_they_are("delivered")
        (delivery,) = await b.deliveries()
        await b.manager.outbox.redeliver("", [delivery.id], clock.now())
        await b.until(lambda: len(b.receivers.sent) == 4)

        own = [
            {name: value for name, value in sent.headers.items() if name.startswith(("ce-", "content-"))}
            for sent in b.receivers.sent
        ]
        assert all(one == own[0] for one in own)
        assert len({sent.body for sent in b.receivers.sent}) == 1
        assert len({sent.headers["webhook-timestamp"] for sent in b.receivers.sent}) > 1
        for sent in b.receivers.sent:
            verify(endpoint.secrets[0], sent)


async def test_a_sender_that_is_called_otherwise_meanwhile_sends_the_same_attributes(form: Format) -> None:
    clock = FakeClock()
    async with open_store("memory", Path(), clock) as store:
        async with bench(store, clock=clock, public_base_url=BASE) as b:
            b.receivers.answer = lambda sent: status(500)
            endpoint = await b.sender.endpoints.register("", URL, format=form)
            await b.end(webhook=endpoint.id)
            await b.clock.advance(1)
            (first,) = b.receivers.sent
        async with bench(store, clock=clock, public_base_url="https://moved.example.com") as b:
            await b.clock.advance(10)
            (second,) = b.receivers.sent

        assert read(first) == read(second)
        assert read(second)[0]["source"] == BASE


async def test_a_large_result_is_only_named_and_says_so(form: Format) -> None:
    async with bench() as b:
        endpoint = await b.sender.endpoints.register("", URL, format=form)
        job = await b.end("x" * 30_000, webhook=endpoint.id)
        await b.clock.advance(1)

        (sent,) = b.receivers.sent
        attributes, data = read(sent)
        assert attributes["truncated"] in (True, "true")
        assert (attributes["subject"], data["id"], "output" in data) == (job, job, False)
        assert attributes["source"] == DEFAULT_SOURCE
        assert len(sent.body) < 2_000


async def test_what_is_sent_to_an_endpoint_itself_is_a_cloud_event_too(form: Format) -> None:
    async with bench() as b:

        def echo(sent: Sent) -> Response:
            challenge: str = read(sent)[1].get("challenge", "")
            return Response(kind="delivered", status=200, body=challenge.encode())

        b.receivers.answer = echo
        endpoint = await b.sender.endpoints.register("", URL, format=form, proof="challenge")
        assert (await b.sender.endpoints.prove("", endpoint.id)).is_enabled
        assert (await b.sender.endpoints.test("", endpoint.id)).is_delivered

        told = [read(sent)[0] for sent in b.receivers.sent]
        assert [one["type"] for one in told] == ["asyncinfer.webhook.verification", "asyncinfer.webhook.test"]
        assert [one["subject"] for one in told] == [endpoint.id] * 2
        assert [one["id"] for one in told] == [sent.id for sent in b.receivers.sent]


@pytest.mark.parametrize("source", ["https://x.example/a%20b", 'https://x.example/"q"', "https://x.example/é€𝄞 "])
def test_a_header_shows_printable_characters_and_means_the_same(source: str) -> None:
    name = message_id(1_800_000_000_123, "one")
    headers = headers_in("cloudevents-binary", source, name, "job.failed", b'{"object": "job", "id": "job_1"}')

    shown = headers["ce-source"]
    assert re.fullmatch(r"[!#-~]+", shown)
    assert unquote(shown) == source
    assert "%25" in shown or "%" not in source
    message = HTTPMessage(dict(headers), b"{}")
    assert from_http_event(message, JSONFormat()).get_attributes()["source"] == source


async def test_a_form_stays_as_it_was_registered(form: Format) -> None:
    async with bench() as b:
        endpoint = await b.sender.endpoints.register("", URL, format=form)
        await b.sender.endpoints.change("", endpoint.id, description="new")
        await b.sender.endpoints.rotate("", endpoint.id)
        (kept,) = await b.sender.endpoints.list("")
        assert (state_of(kept).format, state_of(kept).description) == (form, "new")
