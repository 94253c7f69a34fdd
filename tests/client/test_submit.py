"""Submitting: one key a call, the body that goes out, what is refused before anything does."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from pydantic import BaseModel

from asyncinfer import Retention, RetryPolicy, Subscription
from asyncinfer.client import ConnectionLost
from asyncinfer.errors import AsyncinferError, IdempotencyConflict, InvalidInput, InvalidOption, JobExpired, QueueFull
from asyncinfer.wire import Submit
from tests.client.fake_service import FakeService, job, page_of, problem

LOST = httpx.ReadError("lost")


def accepted(**headers: str) -> httpx.Response:
    return job(http_status=202, headers=headers)


def sent(service: FakeService) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(service.requests[-1].content)
    msgspec.json.decode(service.requests[-1].content, type=Submit)  # the server's own checks
    return body


async def test_all_tries_of_a_call_are_the_same_request() -> None:
    service = FakeService(LOST, page_of("bad gateway", 502), problem("queue-full", 503, retry_after=1), accepted())

    async with service.client() as client:
        remote = await client.submit("echo", {"text": "a"})

    (key,) = set(service.header("idempotency-key"))
    assert key is not None
    assert len(key) == 32
    assert remote.idempotency_key == key
    assert len({request.content for request in service.requests}) == 1
    assert service.asked == ["POST /inference/v1/jobs"] * 4


async def test_another_call_has_another_key() -> None:
    service = FakeService(accepted())

    async with service.client() as client:
        await client.submit("echo")
        await client.submit("echo")

    assert len(set(service.header("idempotency-key"))) == 2


async def test_a_failed_call_tells_its_key() -> None:
    service = FakeService(LOST)

    async with service.client(max_retries=1) as client:
        with pytest.raises(ConnectionLost) as caught:
            await client.submit("echo")

    assert {caught.value.idempotency_key} == set(service.header("idempotency-key"))


@pytest.mark.parametrize(
    ("answer", "given"),
    [
        (problem("queue-full", 503, retry_after=1), {}),
        (problem("validation", 422), {}),
        (page_of("not JSON", 200), {}),
        (page_of("forbidden", 403), {}),
        (accepted(), {"x": math.nan}),
    ],
    ids=repr,
)
async def test_every_error_of_a_call_tells_its_key(answer: httpx.Response, given: dict[str, object]) -> None:
    async with FakeService(answer).client(max_retries=0) as client:
        with pytest.raises(AsyncinferError) as caught:
            await client.submit("echo", given)
        assert caught.value.idempotency_key is not None
        with pytest.raises(AsyncinferError) as caught:
            await client.submit("echo", given, idempotency_key="order-7")

    assert caught.value.idempotency_key == "order-7"


@pytest.mark.parametrize(
    ("key", "header"),
    [
        ("order-7", "order-7"),
        (" a b ", '" a b "'),
        ('"quoted"', '"\\"quoted\\""'),
        ("back\\slash", '"back\\\\slash"'),
    ],
)
async def test_the_callers_key_goes_out_so_that_it_reads_only_one_way(key: str, header: str) -> None:
    service = FakeService(accepted())

    async with service.client() as client:
        remote = await client.submit("echo", idempotency_key=key)

    assert service.header("idempotency-key") == [header]
    assert remote.idempotency_key == key


async def test_an_id_goes_by_put_and_needs_no_key() -> None:
    service = FakeService(LOST, accepted())

    async with service.client() as client:
        remote = await client.submit("echo", job_id="job_1")

    assert service.asked == ["PUT /inference/v1/jobs/job_1"] * 2
    assert service.header("idempotency-key") == [None, None]
    assert remote.idempotency_key is None


async def test_a_replay_is_an_existing_job_only_where_the_caller_named_it() -> None:
    service = FakeService(accepted(**{"Idempotent-Replayed": "true"}))

    async with service.client() as client:
        assert (await client.submit("echo", idempotency_key="order-7")).is_existing
        assert (await client.submit("echo", job_id="job_1")).is_existing
        assert not (await client.submit("echo")).is_existing


async def test_a_deduplicated_job_is_an_existing_one() -> None:
    async with FakeService(job(deduplicated=True)).client() as client:
        assert (await client.submit("echo", dedup=True)).is_existing


async def test_options_go_out_under_their_names_on_the_wire() -> None:
    service = FakeService(accepted())
    at = datetime(2027, 1, 15, tzinfo=UTC)

    async with service.client() as client:
        await client.submit(
            "echo",
            {"text": "a"},
            priority=1,
            not_before=at,
            delay=30,
            deadline=at,
            queue_timeout=None,
            time_limit=2.5,
            retry=RetryPolicy(max_attempts=3, initial_delay=0.5),
            retention=Retention(result=60, record=120),
            dedup=True,
            webhook=Subscription("https://example.com/hook", events=("job.failed",)),
            labels={"a": "b"},
            metadata=[1, {"x": None}],
            traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
        )

    assert sent(service) == {
        "model": "echo",
        "input": {"text": "a"},
        "priority": 1,
        "not_before": "2027-01-15T00:00:00Z",
        "delay_seconds": 30.0,
        "deadline": "2027-01-15T00:00:00Z",
        "queue_timeout_seconds": None,
        "time_limit_seconds": 2.5,
        "retry": {"max_attempts": 3, "initial_delay_seconds": 0.5, "max_delay_seconds": 60.0, "multiplier": 2.0},
        "retention_result_seconds": 60.0,
        "retention_record_seconds": 120.0,
        "dedup": {"scope": "input", "ttl_seconds": 600.0},
        "webhook": {"url": "https://example.com/hook", "endpoint": None, "events": ["job.failed"]},
        "labels": {"a": "b"},
        "metadata": [1, {"x": None}],
    }
    assert service.header("traceparent") == ["00-" + "1" * 32 + "-" + "2" * 16 + "-01"]


async def test_what_is_not_given_is_left_to_the_service() -> None:
    service = FakeService(accepted())

    async with service.client() as client:
        await client.submit("echo", webhook="wh_1")

    assert not {"queue_timeout_seconds", "time_limit_seconds", "retention_result_seconds"} & set(sent(service))
    assert sent(service)["webhook"] == {"url": None, "endpoint": "wh_1"}


@pytest.mark.parametrize(
    ("wait", "preferred"), [(None, None), (0, None), (0.2, "wait=1"), (30, "wait=30"), (99, "wait=60")]
)
async def test_a_wait_goes_out_in_whole_seconds(wait: float | None, preferred: str | None) -> None:
    service = FakeService(accepted())

    async with service.client() as client:
        await client.submit("echo", wait=wait)

    assert service.header("prefer") == [preferred]


@dataclass
class Point:
    x: float


class Shape(BaseModel):
    points: list[float]


async def test_an_input_may_hold_bytes_arrays_and_records() -> None:
    service = FakeService(accepted())
    given = {
        "image": b"\xff\xfe",
        "array": np.ones((1, 2)),
        "scalar": np.int64(3),
        "point": Point(1.5),
        "set": (1, None),
    }

    async with service.client() as client:
        await client.submit("echo", {**given, "shape": Shape(points=[0.5])})

    assert sent(service)["input"] == {
        "image": "//4=",
        "array": [[1.0, 1.0]],
        "scalar": 3,
        "point": {"x": 1.5},
        "set": [1, None],
        "shape": {"points": [0.5]},
    }


UNSENDABLE: list[tuple[Mapping[str, object], str]] = [
    ({"x": math.nan}, "input.x"),
    ({"ok": None, "list": [1.0, {"y": math.inf}]}, "input.list[1].y"),
    ({"big": 2**64}, "input.big"),
    ({"small": [-(2**63) - 1]}, "input.small[0]"),
    ({"text": "\ud800"}, "input.text"),
    ({"what": [object()]}, "input.what[0]"),
    ({"array": np.array([[1.0, math.nan]])}, "input.array[0][1]"),
    ({"point": Point(-math.inf)}, "input.point.x"),
    ({"shape": Shape(points=[math.nan])}, "input.shape.points[0]"),
    ({"keys": {(1, 2): 3}}, "input.keys"),
]


@pytest.mark.parametrize(("given", "path"), UNSENDABLE, ids=repr)
async def test_what_no_json_carries_is_refused_by_its_path_before_anything_is_sent(
    given: Mapping[str, object], path: str
) -> None:
    service = FakeService(accepted())

    async with service.client() as client:
        with pytest.raises(InvalidInput, match=r"^input") as caught:
            await client.submit("echo", given)

    assert caught.value.path == path
    assert service.requests == []


async def test_an_input_without_end_is_refused() -> None:
    endless: dict[str, object] = {}
    endless["again"] = endless

    async with FakeService(accepted()).client() as client:
        with pytest.raises(InvalidInput, match="too deep"):
            await client.submit("echo", endless)


async def test_the_widest_integers_are_sent() -> None:
    service = FakeService(accepted())

    async with service.client() as client:
        await client.submit("echo", {"high": 2**64 - 1, "low": -(2**63)})

    assert sent(service)["input"] == {"high": 2**64 - 1, "low": -(2**63)}


WRONG: list[tuple[str, object]] = [
    ("idempotency_key", ""),
    ("idempotency_key", "ä"),
    ("idempotency_key", "x" * 256),
    ("job_id", "a.b"),
    ("traceparent", "secret\r\nx: y"),
    ("not_before", datetime(2027, 1, 15)),  # noqa: DTZ001  the point
    ("time_limit", math.nan),
    ("time_limit", 0),
    ("queue_timeout", math.inf),
    ("dedup", -1),
    ("retry", 3),
    ("retry", RetryPolicy(jitter=0.5)),
    ("retention", 3),
    ("retention", Retention(tombstone=1)),
    ("webhook", Subscription("https://example.com", secret="whsec_x")),
    ("metadata", math.nan),
    ("labels", {"a": "\ud800"}),
    ("wait", -1),
    ("priorty", 1),
]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=repr)
async def test_a_wrong_option_is_refused_by_its_name(name: str, value: object) -> None:
    service = FakeService(accepted())
    options: dict[str, Any] = {name: value}

    async with service.client() as client:
        with pytest.raises(InvalidOption, match=name):
            await client.submit("echo", **options)

    assert service.requests == []


async def test_a_wrong_model_name_is_refused() -> None:
    async with FakeService(accepted()).client() as client:
        with pytest.raises(InvalidOption, match="model"):
            await client.submit("../../jobs")


async def test_a_refused_input_names_its_path_as_python_does() -> None:
    errors = [{"pointer": "/input/ps/1/x", "detail": "input.ps[1].x: expected int, got str"}]

    async with FakeService(problem("validation", 422, errors=errors)).client() as client:
        with pytest.raises(InvalidInput, match=r"^input\.ps\[1\]\.x: expected int, got str$") as caught:
            await client.submit("echo", {"ps": [{}, {"x": "a"}]})

    assert caught.value.path == "input.ps[1].x"
    assert caught.value.problem is not None
    assert caught.value.problem.errors[0].pointer == "/input/ps/1/x"


async def test_a_refused_option_is_no_refused_input() -> None:
    errors = [{"pointer": "/priority", "detail": "body.priority: expected `int` <= 9"}]

    async with FakeService(problem("validation", 422, errors=errors)).client() as client:
        with pytest.raises(InvalidOption, match=r"^priority: expected"):
            await client.submit("echo", priority=10)


async def test_a_used_key_names_the_job_that_it_belongs_to() -> None:
    async with FakeService(problem("idempotency-key-reused", 422, job_id="job_7")).client() as client:
        with pytest.raises(IdempotencyConflict, match="job_7") as caught:
            await client.submit("echo", idempotency_key="order-7")

    assert caught.value.job_id == "job_7"


async def test_a_key_of_a_pruned_job_is_expired() -> None:
    async with FakeService(problem("job-expired", 410, job_id="job_7")).client() as client:
        with pytest.raises(JobExpired) as caught:
            await client.submit("echo", idempotency_key="order-7")

    assert caught.value.problem is not None
    assert caught.value.problem.job_id == "job_7"


async def test_a_full_queue_tells_its_limit() -> None:
    answer = problem("queue-full", 503, retry_after=9, limit="queued_jobs")

    async with FakeService(answer).client(max_retries=0) as client:
        with pytest.raises(QueueFull) as caught:
            await client.submit("echo")

    assert (caught.value.limit, caught.value.retry_after) == ("queued_jobs", 9.0)
