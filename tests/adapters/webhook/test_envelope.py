"""The bytes that a receiver gets."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from asyncinfer import Job, wire
from asyncinfer.abc import Owed
from asyncinfer.adapters._job_answer import JobAnswers
from asyncinfer.adapters.webhook._envelope import FULL_BYTES, body_of, body_of_forgotten, body_of_notice, message_id

AT = 1_800_000_000_123


def job(result: bytes | None = b"\xa5hello", **fields: Any) -> wire.Job:
    plain = Job(
        owner="alice",
        id="job_1",
        model="echo",
        queue="default",
        status="succeeded",
        revision=3,
        created_at=AT,
        finished_at=AT,
        result=result,
        **fields,
    )
    return JobAnswers("https://api.example.com", debug=False).job(plain, AT)


def test_an_event_has_its_type_time_and_job() -> None:
    told = msgspec.json.decode(body_of("job.succeeded", AT, job()))

    assert list(told) == ["type", "timestamp", "data"]
    assert (told["type"], told["timestamp"]) == ("job.succeeded", "2027-01-15T08:00:00.123000Z")
    assert (told["data"]["id"], told["data"]["output"], told["data"]["revision"]) == ("job_1", "hello", 3)


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_a_body_above_20_kb_is_thin(over: int) -> None:
    rest = len(body_of("job.succeeded", AT, job(msgspec.msgpack.encode("")))) - 2
    text = "x" * (FULL_BYTES - rest - 2 + over)
    body = body_of("job.succeeded", AT, job(msgspec.msgpack.encode(text)))
    told = msgspec.json.decode(body)

    assert told.get("truncated", False) is (over > 0)
    assert len(body) <= FULL_BYTES
    assert told["data"]["links"]["result"] == "https://api.example.com/v1/jobs/job_1/result"
    assert told["data"]["revision"] == 3


def test_a_job_that_is_gone_is_told_by_its_id() -> None:
    owed = Owed(1, "alice", "job_1", "failed", AT, 4, ())
    told = msgspec.json.decode(body_of_forgotten("job.failed", owed))
    assert told["data"] == {"object": "job", "id": "job_1", "status": "failed"}
    assert told["truncated"] is True


def test_a_notice_is_an_event_too() -> None:
    told = msgspec.json.decode(body_of_notice("webhook.test", AT, {"endpoint": "wh_1"}))
    assert told == {"type": "webhook.test", "timestamp": "2027-01-15T08:00:00.123000Z", "data": {"endpoint": "wh_1"}}


def test_the_id_of_an_event_is_that_of_its_parts_and_fits_the_header() -> None:
    one = message_id(AT, "alice", "job_1", "3", "job.succeeded", "https://a.example/")
    assert one == message_id(AT, "alice", "job_1", "3", "job.succeeded", "https://a.example/")
    assert one != message_id(AT, "alice", "job_1", "3", "job.succeeded", "https://b.example/")
    assert one != message_id(AT, "alice", "job_1", "4", "job.succeeded", "https://a.example/")
    assert re.fullmatch(r"msg_[a-z0-9]{8,60}", one)


def test_ids_sort_by_their_instants() -> None:
    ids = [message_id(at, "alice", str(at)) for at in (0, 9, 10, AT - 1, AT, AT + 1, 2**44)]
    assert ids == sorted(ids)
