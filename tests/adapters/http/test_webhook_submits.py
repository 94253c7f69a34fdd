"""Jobs that somebody must hear of: what a submit may ask for, and how the job tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from asyncinfer.adapters.http import BearerTokens
from asyncinfer.adapters.webhook import Guard
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore
from tests.adapters.http.hooks import FAILS, GONE, SECRET, Hooks, hooked, told, verify
from tests.adapters.http.steps import Json, ended, pointer_of, request_of, slug_of, submitted
from tests.faults.harness.waiting import until
from tests.faults.harness.webhook_receiver import answer_ok

TOKENS = BearerTokens({BearerTokens.hash(owner): owner for owner in ("ann", "bob")})


@pytest.fixture
async def hooks() -> AsyncIterator[Hooks]:
    async with hooked() as hooks:
        yield hooks


async def webhook_of(hooks: Hooks, job_id: str) -> Json:
    told: Json = (await hooks.client.get(f"/v1/jobs/{job_id}")).json()["webhook"]
    return told


async def test_a_url_hears_of_the_ending_with_the_job(hooks: Hooks) -> None:
    job = await ended(hooks.client, webhook={"url": hooks.url}, metadata={"order": 7})
    (request,) = await hooks.sent()
    verify(SECRET, request)
    body = told(request)
    assert (request.path, body["type"], body["data"]["id"]) == (
        "/hooks?token=of-the-receiver",
        "job.succeeded",
        job["id"],
    )
    assert (body["data"]["output"], body["data"]["metadata"]) == ("hello", {"order": 7})
    assert body["data"]["links"] == job["links"]


async def test_a_url_hears_only_of_the_endings_that_were_asked_for(hooks: Hooks) -> None:
    webhook = {"url": hooks.url, "events": ["job.failed"]}
    succeeded = await ended(hooks.client, webhook=webhook)
    failed = await ended(hooks.client, "fails", {"message": "no"}, webhook=webhook)
    assert (await hooks.settled(failed["id"], status="delivered"))["event"] == "job.failed"
    assert (await hooks.client.get(f"/v1/jobs/{succeeded['id']}/deliveries")).json()["data"] == []
    assert (await webhook_of(hooks, succeeded["id"]))["status"] == "none_yet"


async def test_a_registered_endpoint_hears_of_the_ending_with_its_own_secret(hooks: Hooks) -> None:
    endpoint = await hooks.registered()
    delivery = await hooks.delivery({"endpoint": endpoint["id"]}, status="delivered")
    assert delivery["endpoint"] == endpoint["id"]
    (request,) = hooks.receiver.requests
    verify(endpoint["secret"], request)


async def test_a_registered_endpoint_hears_of_the_running_job_where_it_is_registered_for_that(hooks: Hooks) -> None:
    endpoint = await hooks.registered(events=["job.output", "job.succeeded"])
    await ended(hooks.client, "counts", {"up_to": 3}, webhook={"endpoint": endpoint["id"]})
    requests = await hooks.sent(2)
    for request in requests:
        verify(endpoint["secret"], request)
    assert sorted(told(one)["type"] for one in requests) == ["job.output", "job.succeeded"]


async def test_a_put_may_ask_for_a_webhook_too(hooks: Hooks) -> None:
    answered = await hooks.client.put(
        "/v1/jobs/mine", json=request_of("echo", {"text": "a"}, webhook={"url": hooks.url})
    )
    assert answered.status_code == 202
    assert (await hooks.settled("mine", status="delivered"))["job_id"] == "mine"


async def test_a_canceled_job_is_told_of(hooks: Hooks) -> None:
    job = await submitted(hooks.client, "waits_for_ever", webhook={"url": hooks.url})
    await hooks.client.post(f"/v1/jobs/{job['id']}/cancel")
    (request,) = await hooks.sent()
    assert (told(request)["type"], told(request)["data"]["status"]) == ("job.canceled", "canceled")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://example.com/cb?token=s3cret", "scheme"),
        ("ftp://example.com/s3cret", "scheme"),
        ("https://user:s3cret@example.com/cb", "userinfo"),
        ("https://127.0.0.1/s3cret", "address"),
        ("https://10.1.2.3/s3cret", "address"),
        ("https://[::1]/s3cret", "address"),
        ("https://169.254.169.254/latest/s3cret", "address"),
        ("https://[fd00:ec2::254]/s3cret", "address"),
        ("https://192.88.99.1/s3cret", "address"),
        ("https://localhost/s3cret", "host"),
        ("https://93.184.216.34:22/s3cret", "port"),
        ("https://93.184.216.34/a b?s3cret", "characters"),
        ("s3cret", "form"),
    ],
)
async def test_a_url_that_may_not_be_called_is_refused_by_its_kind_and_nothing_is_stored(url: str, kind: str) -> None:
    async with hooked(guard=Guard()) as hooks:
        endpoint = await hooks.client.post("/v1/webhooks", json={"url": "https://93.184.216.34/cb"})
        path = f"/v1/webhooks/{endpoint.json()['id']}"
        headers = {"Idempotency-Key": "a-key"}
        submit = request_of("echo", {"text": "a"}, webhook={"url": url})
        answers = [
            await hooks.client.post("/v1/jobs", json=submit, headers=headers),
            await hooks.client.put("/v1/jobs/mine", json=submit),
            await hooks.client.post("/v1/webhooks", json={"url": url}),
            await hooks.client.patch(path, json={"url": url, "description": "changed"}),
        ]
        assert {(one.status_code, slug_of(one), one.json()["detail"]) for one in answers} == {
            (422, "webhook-url-rejected", kind)
        }
        assert {"s3cret" in one.text for one in answers} == {False}
        assert (await hooks.client.get("/v1/jobs")).json()["data"] == []
        (only,) = (await hooks.client.get("/v1/webhooks")).json()["data"]
        assert (only["url"], only["description"]) == ("https://93.184.216.34/cb", "")
        # A refused submit does not burn the key.
        again = await hooks.client.post("/v1/jobs", json=request_of("echo", {"text": "b"}), headers=headers)
        assert again.status_code == 202


@pytest.mark.parametrize(
    ("webhook", "pointer"),
    [
        ({}, "/webhook"),
        ({"url": None, "endpoint": None}, "/webhook"),
        ({"url": "https://93.184.216.34/", "endpoint": "wh_1"}, "/webhook"),
        ({"url": "https://93.184.216.34/", "events": []}, "/webhook/events"),
        ({"url": "https://93.184.216.34/", "events": ["job.begun"]}, "/webhook/events/0"),
        ({"url": "https://93.184.216.34/", "secret": "whsec_mine"}, "/webhook/secret"),
        ({"url": ""}, "/webhook/url"),
        ({"endpoint": "x" * 65}, "/webhook/endpoint"),
        ("https://93.184.216.34/", "/webhook"),
    ],
)
async def test_a_wrong_webhook_is_named_and_nothing_is_stored(hooks: Hooks, webhook: Json, pointer: str) -> None:
    answered = await hooks.client.post("/v1/jobs", json=request_of("echo", {"text": "a"}, webhook=webhook))
    assert (answered.status_code, pointer_of(answered)) == (422, pointer)
    assert (await hooks.client.get("/v1/jobs")).json()["data"] == []


async def test_anothers_endpoint_is_exactly_an_unknown_one() -> None:
    async with hooked(authenticate=TOKENS) as hooks:
        hooks.client.headers["authorization"] = "Bearer ann"
        anns = (await hooks.registered())["id"]
        hooks.client.headers["authorization"] = "Bearer bob"
        answers: list[httpx.Response] = []
        for name in (anns, "wh_" + "0" * 24, "\0", "http"):
            body = request_of("echo", {"text": "a"}, webhook={"endpoint": name})
            answers.append(await hooks.client.post("/v1/jobs", json=body))
        assert {(one.status_code, slug_of(one)) for one in answers} == {(404, "not-found")}
        assert len({one.content for one in answers}) == 1
        assert (await hooks.client.get("/v1/jobs")).json()["data"] == []


async def test_a_replay_with_a_webhook_adds_its_subscription(hooks: Hooks) -> None:
    headers = {"Idempotency-Key": "a-key"}
    body = request_of("echo", {"text": "a"})
    first = await hooks.client.post("/v1/jobs", json=body, headers={**headers, "Prefer": "wait=10"})
    assert (first.status_code, first.json()["webhook"]) == (200, None)
    replay = await hooks.client.post("/v1/jobs", json={**body, "webhook": {"url": hooks.url}}, headers=headers)
    assert (replay.status_code, replay.headers["idempotent-replayed"]) == (200, "true")
    assert replay.json()["id"] == first.json()["id"]
    await hooks.settled(first.json()["id"], status="delivered")
    await hooks.client.post("/v1/jobs", json={**body, "webhook": {"url": hooks.url}}, headers=headers)
    assert (await webhook_of(hooks, first.json()["id"]))["attempts"] == 1


async def test_every_answer_that_is_a_job_tells_how_its_webhook_does(hooks: Hooks) -> None:
    none_yet = {"status": "none_yet", "attempts": 0, "next_attempt_at": None, "last_error": None}
    job = await submitted(hooks.client, "waits_for_ever", webhook={"url": hooks.url})
    path = f"/v1/jobs/{job['id']}"
    assert job["webhook"] == none_yet
    assert (await hooks.client.get(path)).json()["webhook"] == none_yet
    assert (await hooks.client.get(f"{path}/result")).json()["webhook"] == none_yet
    canceled = await hooks.client.post(f"{path}/cancel")
    assert canceled.json()["webhook"]["status"] in ("none_yet", "pending", "delivered")
    assert (await submitted(hooks.client))["webhook"] is None


async def test_a_webhook_is_pending_while_it_fails_and_delivered_in_the_end() -> None:
    clock = FakeClock()
    async with MemoryStore(clock=clock) as store, hooked(FAILS, store=store) as hooks:
        job = await submitted(hooks.client, webhook={"url": hooks.url})
        await hooks.settled(job["id"], status="pending", attempts=1)
        webhook = await webhook_of(hooks, job["id"])
        assert (webhook["status"], webhook["attempts"], webhook["last_error"]) == ("pending", 1, "status")
        assert webhook["next_attempt_at"] is not None

        hooks.receiver.behave = answer_ok

        async def is_delivered() -> bool:
            await clock.advance(1)
            return bool((await webhook_of(hooks, job["id"]))["status"] == "delivered")

        await until(is_delivered, 10, what="the webhook is delivered")
        delivered = {"status": "delivered", "attempts": 2, "next_attempt_at": None, "last_error": None}
        assert await webhook_of(hooks, job["id"]) == delivered
        ids = {request.headers["webhook-id"] for request in hooks.receiver.requests}
        assert (len(ids), len({request.body for request in hooks.receiver.requests})) == (1, 1)


async def test_a_webhook_that_nobody_wants_has_failed_and_the_job_has_not() -> None:
    async with hooked(GONE) as hooks:
        await hooks.delivery({"url": hooks.url}, status="disabled")
        (job,) = (await hooks.client.get("/v1/jobs")).json()["data"]
        told = (await hooks.client.get(f"/v1/jobs/{job['id']}")).json()
        failed = {"status": "failed", "attempts": 1, "next_attempt_at": None, "last_error": "status"}
        assert (told["status"], told["webhook"]) == ("succeeded", failed)


async def test_two_webhooks_are_told_of_together(hooks: Hooks) -> None:
    body = request_of("waits_for_ever")
    headers = {"Idempotency-Key": "a-key"}
    endpoint = await hooks.registered()
    job, _ = [
        (await hooks.client.post("/v1/jobs", json={**body, "webhook": webhook}, headers=headers)).json()
        for webhook in ({"url": hooks.url}, {"endpoint": endpoint["id"]})
    ]
    await hooks.client.patch(f"/v1/webhooks/{endpoint['id']}", json={"enabled": False})
    await hooks.client.post(f"/v1/jobs/{job['id']}/cancel")

    async def is_settled() -> bool:
        return bool((await webhook_of(hooks, job["id"]))["status"] == "failed")

    await until(is_settled, 10, what="both are settled")
    deliveries = (await hooks.client.get(f"/v1/jobs/{job['id']}/deliveries")).json()["data"]
    assert {one["endpoint"]: one["status"] for one in deliveries} == {None: "delivered", endpoint["id"]: "disabled"}
    assert (await webhook_of(hooks, job["id"]))["last_error"] == "blocked"


async def test_a_list_of_jobs_looks_at_no_webhooks(hooks: Hooks) -> None:
    await hooks.delivery({"url": hooks.url}, status="delivered")
    assert [job["webhook"] for job in (await hooks.client.get("/v1/jobs")).json()["data"]] == [None]


async def test_who_may_have_no_webhooks_may_not_submit_with_one() -> None:
    async def no_webhooks(principal: object, action: str, job: object) -> bool:
        await asyncio.sleep(0)
        return action != "webhooks"

    async with hooked(authenticate=TOKENS, authorize=no_webhooks) as hooks:
        hooks.client.headers["authorization"] = "Bearer ann"
        body = request_of("echo", {"text": "a"})
        asked = await hooks.client.post("/v1/jobs", json={**body, "webhook": {"url": hooks.url}})
        plain = await hooks.client.post("/v1/jobs", json=body)
        answers = [
            await hooks.client.post("/v1/webhooks", json={"url": hooks.url}),
            await hooks.client.get("/v1/webhooks"),
            await hooks.client.get("/v1/deliveries"),
            await hooks.client.get("/v1/deliveries/msg_1"),
            await hooks.client.get(f"/v1/jobs/{plain.json()['id']}/deliveries"),
        ]
    assert (asked.status_code, slug_of(asked), plain.status_code) == (403, "forbidden", 202)
    assert {(one.status_code, slug_of(one)) for one in answers} == {(403, "forbidden")}
