"""POST /v1/jobs and PUT /v1/jobs/{id}."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from asyncinfer import JobManager, Limits
from asyncinfer.adapters.http import create_app
from tests.adapters.http.conftest import connected
from tests.adapters.http.models import ALL
from tests.adapters.http.steps import BASE, ended, pointer_of, request_of, slug_of, submitted


async def test_a_submit_is_accepted_with_the_job_and_where_it_is(client: httpx.AsyncClient) -> None:
    answered = await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}))
    job = answered.json()
    assert answered.status_code == 202
    assert answered.headers["location"] == answered.headers["operation-location"] == f"{BASE}/v1/jobs/{job['id']}"
    assert answered.headers["retry-after"] == str(job["retry_after_seconds"])
    assert answered.headers["etag"] == f'W/"{job["revision"]}"'
    assert answered.headers["vary"] == "Prefer"
    assert "preference-applied" not in answered.headers
    assert "idempotent-replayed" not in answered.headers


async def test_the_job_object_is_what_the_contract_says(client: httpx.AsyncClient) -> None:
    members: dict[str, Any] = {"priority": 2, "labels": {"run": "7"}, "metadata": {"who": ["me", 1.5, None]}}
    job = await submitted(client, "waits_for_ever", **members)
    url = f"{BASE}/v1/jobs/{job['id']}"
    assert {name: job[name] for name in members} == members
    assert (job["object"], job["model"], job["status"], job["retry_of"]) == ("job", "waits_for_ever", "queued", None)
    assert (job["attempt"], job["failures"], job["crashes"], job["max_attempts"]) == (0, 0, 0, 1)
    assert (job["output"], job["error"], job["progress"], job["deduplicated"]) == (None, None, None, False)
    links = {"self": url} | {name: f"{url}/{name}" for name in ("result", "events", "cancel", "retry")}
    assert links.items() <= job["links"].items()
    assert job["queue"]["name"] == "slow"
    assert "input" not in job
    assert "attempts" not in job


async def test_instants_are_in_utc(client: httpx.AsyncClient) -> None:
    deadline = datetime(2099, 1, 1, 12, tzinfo=UTC)
    job = await ended(client, deadline="2099-01-01T14:00:00+02:00")
    assert datetime.fromisoformat(job["deadline"]) == deadline
    for name in ("created_at", "started_at", "finished_at", "forget_at", "deadline"):
        assert job[name].endswith("Z")


async def test_a_wait_is_answered_with_the_ended_job(client: httpx.AsyncClient) -> None:
    answered = await client.post(
        "/v1/jobs", json=request_of("mirror", {"point": {"x": 1, "y": 2}}), headers={"Prefer": "wait=10"}
    )
    assert answered.status_code == 200
    assert answered.headers["preference-applied"] == "wait=10"
    assert answered.headers["vary"] == "Prefer"
    assert "retry-after" not in answered.headers
    job = answered.json()
    assert (job["status"], job["output"], job["retry_after_seconds"]) == ("succeeded", {"x": 2, "y": 1}, None)


async def test_a_failed_model_run_is_data_not_an_http_error(client: httpx.AsyncClient) -> None:
    answered = await client.post(
        "/v1/jobs", json=request_of("fails", {"message": "no luck"}), headers={"Prefer": "wait=10"}
    )
    assert answered.status_code == 200
    error = answered.json()["error"]
    assert (error["code"], error["message"], error["attempt"]) == ("model_error", "no luck", 1)
    assert error["details"] == {"type": "ValueError"}
    assert "traceback" not in error


async def test_tracebacks_are_told_only_in_debug(manager: JobManager) -> None:
    async with connected(create_app(manager, public_base_url=BASE, allow_anonymous=True, debug=True)) as client:
        job = await ended(client, "fails", {"message": "no luck"})
    assert "raise ValueError(message)" in job["error"]["traceback"]


async def test_a_wait_that_is_too_short_is_answered_with_the_job_as_it_stands(manager: JobManager) -> None:
    async with connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client:
        answered = await client.post("/v1/jobs", json=request_of("waits_for_ever"), headers={"Prefer": "wait=1"})
    assert answered.status_code == 202
    assert answered.headers["preference-applied"] == "wait=1"
    assert answered.json()["status"] == "running"


@pytest.mark.parametrize(
    ("asked", "applied"),
    [
        ("respond-async", "respond-async"),
        ("Respond-Async, WAIT=90", "wait=60"),
        ('foo; bar, wait="5"', "wait=5"),
        ("handling=lenient", None),
        ("wait=soon", None),
    ],
)
async def test_preferences_are_applied_as_far_as_they_are_understood(
    client: httpx.AsyncClient, asked: str, applied: str | None
) -> None:
    answered = await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}), headers={"Prefer": asked})
    assert answered.headers.get("preference-applied") == applied


async def test_preferences_may_come_in_several_headers(client: httpx.AsyncClient) -> None:
    headers = [("Prefer", "wait=5"), ("Prefer", "respond-async")]
    answered = await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}), headers=headers)
    assert answered.headers["preference-applied"] == "wait=5"


async def test_every_option_of_a_submit_reaches_the_job(client: httpx.AsyncClient, manager: JobManager) -> None:
    job = await submitted(
        client,
        not_before="2098-01-01T00:00:00Z",
        deadline="2099-01-01T00:00:00Z",
        queue_timeout_seconds=3_000_000_000 // 10,
        time_limit_seconds=7.5,
        retry={"max_attempts": 4, "initial_delay_seconds": 2, "max_delay_seconds": 8, "multiplier": 3},
        retention_result_seconds=10,
        retention_record_seconds=20,
    )
    assert (job["status"], job["max_attempts"], job["queue"]["position"]) == ("queued", 4, None)
    stored = await manager.submission(job["id"])
    assert (stored.time_limit, stored.retention_result, stored.retention_record) == (7_500, 10_000, 20_000)
    assert stored.backoff is not None
    assert (stored.backoff.initial_delay, stored.backoff.max_delay, stored.backoff.multiplier) == (2_000, 8_000, 3)
    assert datetime.fromisoformat(job["not_before"]) == datetime(2098, 1, 1, tzinfo=UTC)


async def test_a_null_takes_a_models_time_limit_away(client: httpx.AsyncClient, manager: JobManager) -> None:
    job = await submitted(client, time_limit_seconds=None, queue_timeout_seconds=None)
    stored = await manager.submission(job["id"])
    assert (stored.time_limit, stored.expire_at) == (None, None)


async def test_the_trace_context_is_kept_and_a_broken_one_ignored(
    client: httpx.AsyncClient, manager: JobManager
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    body = request_of("echo", {"text": "hi"})
    good = await client.post("/v1/jobs", json=body, headers={"traceparent": trace})
    broken = await client.post("/v1/jobs", json=body, headers={"traceparent": trace.replace("b", "B")})
    assert (await manager.get(good.json()["id"])).traceparent == trace
    assert (await manager.get(broken.json()["id"])).traceparent is None


async def test_bytes_travel_as_base64(client: httpx.AsyncClient) -> None:
    job = await ended(client, "doubles", {"data": base64.b64encode(b"\0\xff").decode()})
    assert base64.b64decode(job["output"]) == b"\0\xff\0\xff"


async def test_a_put_chooses_the_id(client: httpx.AsyncClient) -> None:
    answered = await client.put("/v1/jobs/mine-1", json=request_of("echo", {"text": "hi"}))
    assert answered.status_code == 202
    assert answered.headers["location"] == f"{BASE}/v1/jobs/mine-1"
    assert answered.json()["id"] == "mine-1"


@pytest.mark.parametrize("job_id", ["a.b", "a%20b", "x" * 65, "%C3%A9", "a%0A"])
async def test_an_id_that_no_job_may_have_is_refused(client: httpx.AsyncClient, job_id: str) -> None:
    answered = await client.put(f"/v1/jobs/{job_id}", json=request_of("echo", {"text": "hi"}))
    assert answered.status_code == 422
    assert pointer_of(answered) == "id"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"input": {}}, "/model"),
        ({"model": 5}, "/model"),
        ({"model": "no such!"}, "/model"),
        (request_of("echo", {"text": 5}), "/input/text"),
        (request_of("echo"), "/input/text"),
        (request_of("echo", {"text": "hi", "tone": "low"}), "/input/tone"),
        (request_of("mirror", {"point": {"x": 1, "y": "two"}}), "/input/point/y"),
        (request_of("doubles", {"data": "not base64!"}), "/input/data"),
        ({"model": "echo", "input": ["hi"]}, "/input"),
        ({"model": "echo", "input": None}, "/input"),
        (request_of("echo", {"text": "hi"}, color="red"), "/color"),
        (request_of("echo", {"text": "hi"}, priority=10), "/priority"),
        (request_of("echo", {"text": "hi"}, priority=True), "/priority"),
        (request_of("echo", {"text": "hi"}, not_before="2030-01-01T00:00:00"), "/not_before"),
        (request_of("echo", {"text": "hi"}, deadline="0001-01-01T00:00:00+12:00"), "/deadline"),
        (request_of("echo", {"text": "hi"}, deadline="9999-12-31T23:59:59-12:00"), "/deadline"),
        (request_of("echo", {"text": "hi"}, not_before="9999-12-31T23:59:59-12:00"), "/not_before"),
        (request_of("echo", {"text": "hi"}, time_limit_seconds=0), "/time_limit_seconds"),
        (request_of("echo", {"text": "hi"}, time_limit_seconds=1e300), "/time_limit_seconds"),
        (request_of("echo", {"text": "hi"}, queue_timeout_seconds=1e-9), "/queue_timeout_seconds"),
        (request_of("echo", {"text": "hi"}, delay_seconds=1, not_before="2030-01-01T00:00:00Z"), "/delay_seconds"),
        (request_of("echo", {"text": "hi"}, retry={"max_attempts": 0}), "/retry/max_attempts"),
        (request_of("echo", {"text": "hi"}, retry={"attempts": 1}), "/retry/attempts"),
        (request_of("echo", {"text": "hi"}, retention_result_seconds=-1), "/retention_result_seconds"),
        (request_of("echo", {"text": "hi"}, dedup={"ttl_seconds": 0}), "/dedup/ttl_seconds"),
        (request_of("echo", {"text": "hi"}, labels={"k": 1}), "/labels"),
        (request_of("echo", {"text": "hi"}, labels={"": "v"}), "/labels"),
        (request_of("echo", {"text": "hi"}, labels={"a\nb": "v"}), "/labels"),
        (request_of("echo", {"text": "hi"}, labels={str(n): "v" for n in range(9)}), "/labels"),
        (request_of("echo", {"text": "hi"}, webhook={"url": "https://hooks.example.com/"}), "/webhook"),
    ],
)
async def test_a_wrong_member_is_named(client: httpx.AsyncClient, body: dict[str, Any], pointer: str) -> None:
    answered = await client.post("/v1/jobs", json=body)
    assert (answered.status_code, pointer_of(answered)) == (422, pointer)
    assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_a_model_that_nobody_has_is_unknown(client: httpx.AsyncClient) -> None:
    answered = await client.post("/v1/jobs", json=request_of("nobody"))
    assert (answered.status_code, slug_of(answered)) == (404, "model-not-found")


async def test_a_submit_takes_no_query(client: httpx.AsyncClient) -> None:
    answered = await client.post("/v1/jobs?wait=3", json=request_of("echo", {"text": "hi"}))
    assert (answered.status_code, pointer_of(answered)) == (422, "wait")


async def test_a_full_queue_says_when_to_come_again() -> None:
    limits = Limits(queued_jobs=1)
    async with (
        JobManager("memory://", models=ALL, limits=limits, run_jobs=False) as manager,
        connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client,
    ):
        await submitted(client)
        answered = await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}))
    assert (answered.status_code, slug_of(answered)) == (503, "queue-full")
    assert 1 <= int(answered.headers["retry-after"]) <= 72
    assert answered.json()["retry_after_seconds"] == int(answered.headers["retry-after"])
    assert answered.json()["limit"] == "queued_jobs"


async def test_an_input_above_the_limit_is_too_large() -> None:
    limits = Limits(input_bytes=1_000, metadata_bytes=100)
    async with (
        JobManager("memory://", models=ALL, limits=limits, run_jobs=False) as manager,
        connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client,
    ):
        input_too_large = await client.post("/v1/jobs", json=request_of("echo", {"text": "x" * 1_001}))
        metadata_too_large = await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}, metadata="x" * 101))
    assert (input_too_large.status_code, slug_of(input_too_large)) == (413, "payload-too-large")
    assert input_too_large.json()["max_bytes"] == 1_000
    assert (metadata_too_large.status_code, slug_of(metadata_too_large)) == (413, "payload-too-large")
    assert metadata_too_large.json()["max_bytes"] == 100


async def test_a_job_whose_deadline_has_passed_is_accepted_and_fails(client: httpx.AsyncClient) -> None:
    past = datetime.now(UTC) - timedelta(minutes=1)
    job = await ended(client, deadline=past.isoformat())
    assert (job["status"], job["error"]["code"]) == ("failed", "deadline")
