"""The same key, or the same chosen id, is the same job."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from asyncinfer import JobManager, Limits
from asyncinfer.adapters.http import create_app
from tests.adapters.http.conftest import connected
from tests.adapters.http.models import ALL
from tests.adapters.http.steps import BASE, ended, pointer_of, request_of, slug_of, submitted

BODY = request_of("echo", {"text": "hi"}, labels={"run": "7"})


async def post(client: httpx.AsyncClient, key: str, body: Any = None, **headers: str) -> httpx.Response:
    return await client.post("/v1/jobs", json=body or BODY, headers={"Idempotency-Key": key, **headers})


async def test_a_replay_is_answered_with_the_job_as_it_is_now(client: httpx.AsyncClient) -> None:
    first = await post(client, "k-1")
    done = (await client.get(f"/v1/jobs/{first.json()['id']}", params={"wait": 10})).json()
    replay = await post(client, "k-1")
    assert (first.status_code, replay.status_code, replay.json()) == (202, 200, done)
    assert "idempotent-replayed" not in first.headers
    assert replay.headers["idempotent-replayed"] == "true"
    assert replay.headers["location"] == first.headers["location"]


async def test_a_replay_of_a_live_job_is_accepted_again(client: httpx.AsyncClient) -> None:
    body = request_of("waits_for_ever")
    first, replay = await post(client, "k-1", body), await post(client, "k-1", body)
    assert (replay.status_code, replay.headers["idempotent-replayed"]) == (202, "true")
    assert replay.json()["id"] == first.json()["id"]


async def test_a_key_may_be_quoted_or_bare(client: httpx.AsyncClient) -> None:
    answers = [await post(client, key) for key in ("k 1", '"k 1"', ' "k 1" ')]
    assert len({one.json()["id"] for one in answers}) == 1


async def test_the_order_of_members_does_not_matter(client: httpx.AsyncClient) -> None:
    body = {"retry": {"max_attempts": 2}, "metadata": {"a": 1, "b": 2}, **BODY}
    turned = {**BODY, "metadata": {"b": 2, "a": 1}, "retry": {"multiplier": 2.0, "max_attempts": 2}}
    first, replay = await post(client, "k-1", body), await post(client, "k-1", turned)
    assert replay.json()["id"] == first.json()["id"]


@pytest.mark.parametrize(
    "other",
    [
        request_of("echo", {"text": "ho"}, labels={"run": "7"}),
        request_of("echo", {"text": "hi"}, labels={"run": "8"}),
        request_of("echo", {"text": "hi"}),
        request_of("echo", {"text": "hi"}, labels={"run": "7"}, priority=1),
        request_of("fails", {"message": "hi"}, labels={"run": "7"}),
    ],
)
async def test_a_key_of_another_request_is_refused_with_the_first_job(
    client: httpx.AsyncClient, other: dict[str, Any]
) -> None:
    first = await post(client, "k-1")
    refused = await post(client, "k-1", other)
    assert (refused.status_code, slug_of(refused)) == (422, "idempotency-key-reused")
    assert refused.json()["job_id"] == first.json()["id"]
    assert len((await client.get("/v1/jobs")).json()["data"]) == 1


async def test_a_refused_submit_does_not_burn_its_key() -> None:
    async with (
        JobManager("memory://", models=ALL, limits=Limits(queued_jobs=1), run_jobs=False) as manager,
        connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client,
    ):
        holder = await submitted(client)
        full = await post(client, "k-1")
        wrong = await post(client, "k-1", request_of("echo", {"text": 5}))
        await client.post(f"/v1/jobs/{holder['id']}/cancel")
        accepted = await post(client, "k-1", request_of("echo", {"text": "another"}))
    assert [one.status_code for one in (full, wrong, accepted)] == [503, 422, 202]


async def test_a_key_of_a_forgotten_job_is_gone_with_its_id(client: httpx.AsyncClient) -> None:
    first = await post(client, "k-1")
    await client.get(f"/v1/jobs/{first.json()['id']}", params={"wait": 10})
    await client.delete(f"/v1/jobs/{first.json()['id']}")
    replay = await post(client, "k-1")
    assert (replay.status_code, slug_of(replay)) == (410, "job-expired")
    assert replay.json()["job_id"] == first.json()["id"]


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "k\x7f", "k\xe9"])
async def test_a_key_that_cannot_be_kept_is_refused(client: httpx.AsyncClient, key: str) -> None:
    answered = await client.post("/v1/jobs", json=BODY, headers={b"idempotency-key": key.encode("latin-1")})
    assert pointer_of(answered) == "Idempotency-Key"


async def test_many_at_once_under_one_key_make_one_job(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(post(client, "k-1") for _ in range(32)))
    assert len({one.json()["id"] for one in answers}) == 1
    assert sum("idempotent-replayed" not in one.headers for one in answers) == 1


async def test_a_put_again_is_a_replay(client: httpx.AsyncClient) -> None:
    first, replay = await client.put("/v1/jobs/mine", json=BODY), await client.put("/v1/jobs/mine", json=BODY)
    assert "idempotent-replayed" not in first.headers
    assert replay.headers["idempotent-replayed"] == "true"
    other = await client.put("/v1/jobs/mine", json=request_of("echo", {"text": "ho"}))
    assert (other.status_code, slug_of(other), other.json()["job_id"]) == (422, "idempotency-key-reused", "mine")


async def test_dedup_answers_with_a_job_of_the_same_input(client: httpx.AsyncClient) -> None:
    first = await ended(client, "echo", {"text": "hi"}, dedup={"ttl_seconds": 60})
    answered = await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}, dedup={"ttl_seconds": 60}))
    assert answered.status_code == 200
    assert (answered.json()["id"], answered.json()["deduplicated"]) == (first["id"], True)
    assert "idempotent-replayed" not in answered.headers
    another = await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}))
    assert (another.json()["id"] != first["id"], another.json()["deduplicated"]) == (True, False)
