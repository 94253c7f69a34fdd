"""Hostile values: texts and bytes that break something downstream, beside good items."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from asyncinfer.abc import JobFilter, JobKey, JobStore, NewJob, Progress, Record, Subscription
from asyncinfer.testing.builders import JobFields, error, failure, lease_of, new_job, new_jobs, success
from asyncinfer.testing.steps import LIMITS, accept, claim, claim_one, end, find_one, get_one, insert_one, start
from asyncinfer.testing.store_suite.store_case import StoreCase

LONE = "\ud800"
"""A lone surrogate: a str that no encoding takes."""

SURROGATES: list[JobFields] = [
    {"owner": LONE},
    {"id": LONE},
    {"model": LONE},
    {"queue": LONE},
    {"input_ref": LONE},
    {"content_type": LONE},
    {"key": LONE},
    {"batch_key": LONE},
    {"retry_of": LONE},
    {"traceparent": LONE},
    {"limit_key": LONE},
    {"group_id": LONE},
    {"parent_id": LONE},
    {"labels": {LONE: "value"}},
    {"labels": {"label": LONE}},
    {"subscriptions": (Subscription(target=LONE),)},
    {"subscriptions": (Subscription(target="https://a.example.com/", secret=LONE),)},
    {"subscriptions": (Subscription(target="https://a.example.com/", events=(LONE,)),)},
]

TOO_LARGE: list[JobFields] = [
    {"not_before": 2**63},
    {"deadline": 2**63},
    {"expire_at": 2**64},
    {"time_limit": 2**70},
    {"key": "k", "key_until": 2**63},
    {"cost": 2**63},
    {"max_attempts": 2**63},
    {"crash_budget": 2**63},
]

ODD_TEXTS = [
    "",
    " ",
    "|",
    "a|b",
    "a\x00b",
    "\x00",
    "☃",
    "e\u0301",
    "é",
    "%",
    "_",
    "'",
    '"',
    "\\",
    "a:b",
    "{}",
    "\u202e",
    "x" * 500,
]


def described(fields: JobFields) -> str:
    """Name a parameter by its field, not by its hostile value."""
    return "-".join(fields)


class HostileInsertTests(StoreCase):
    @pytest.mark.parametrize("fields", SURROGATES, ids=described)
    async def test_a_lone_surrogate_is_answered_bad_and_keeps_no_neighbour(
        self, store: JobStore, fields: JobFields
    ) -> None:
        before, bad, after = new_job(), new_job(**fields), new_job()

        answers = await store.insert([before, bad, after], LIMITS)

        assert [answer.kind for answer in answers] == ["inserted", "bad", "inserted"]
        assert answers[1].message
        assert (await insert_one(store, new_job())).kind == "inserted"
        assert len((await claim(store)).claims) == 3

    @pytest.mark.parametrize("fields", TOO_LARGE, ids=described)
    async def test_an_integer_beyond_64_bits_is_answered_bad(self, store: JobStore, fields: JobFields) -> None:
        before, bad, after = new_job(), new_job(**fields), new_job()

        answers = await store.insert([before, bad, after], LIMITS)

        assert [answer.kind for answer in answers] == ["inserted", "bad", "inserted"]
        assert answers[1].message

    async def test_bad_items_sent_at_once_keep_no_neighbour(self, store: JobStore) -> None:
        jobs = [new_job(queue=LONE) if n % 2 else new_job() for n in range(40)]

        answers = await asyncio.gather(*(insert_one(store, job) for job in jobs))

        assert [answer.kind for answer in answers] == ["inserted", "bad"] * 20

    async def test_a_bad_item_takes_no_room_and_no_key(self, store: JobStore) -> None:
        await insert_one(store, new_job(key="order-7", queue=LONE))

        assert (await insert_one(store, new_job(key="order-7"))).kind == "inserted"
        assert sum(count.queued for count in await store.counts()) == 1


class OddNameTests(StoreCase):
    @pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
    async def test_any_text_names_an_owner_an_id_a_queue_and_a_label(self, store: JobStore, text: str) -> None:
        job = new_job(owner=text, id=f"id{text}", queue=text, key=text, labels={text: text})

        await accept(store, job)

        assert list(await store.submissions([job.job_key])) == [job]
        (found,) = (await store.find(text, JobFilter(queue=text, labels={text: text}))).jobs
        assert found.job_key == job.job_key
        ended = await end(store, success(await claim_one(store)))
        assert ended.job_key == job.job_key

    async def test_owners_that_look_alike_are_different_owners(self, store: JobStore) -> None:
        jobs = [new_job(owner=owner, id="same", key="same", input=owner.encode()) for owner in ODD_TEXTS]

        await accept(store, *jobs)

        inputs = [job and job.input for job in await store.submissions([job.job_key for job in jobs])]
        assert inputs == [job.input for job in jobs]

    async def test_owner_and_id_do_not_run_together(self, store: JobStore) -> None:
        keys = [JobKey("a|b", "c"), JobKey("a", "b|c"), JobKey("a\x00b", "c"), JobKey("a", "b\x00c")]
        jobs = [new_job(owner=key.owner, id=key.id) for key in keys]
        await accept(store, *jobs)

        await store.request_cancel([jobs[0].job_key])

        assert [job.status for job in await store.get([job.job_key for job in jobs]) if job] == [
            "canceled",
            "queued",
            "queued",
            "queued",
        ]


class HostileCallTests(StoreCase):
    @pytest.mark.parametrize(
        "key", [JobKey(LONE, "id"), JobKey("alice", LONE), JobKey("alice", "x" * 100_000)], ids=ascii
    )
    async def test_a_key_that_cannot_be_is_an_unknown_job(self, store: JobStore, key: JobKey) -> None:
        job = new_job()
        await accept(store, job)

        assert [found and found.id for found in await store.get([key, job.job_key])] == [None, job.id]
        assert list(await store.submissions([key])) == [None]
        assert list(await store.position([key])) == [None]
        assert list(await store.request_cancel([key])) == [(key, None)]
        assert list(await store.delete([key])) == [(key, None)]
        assert not await store.is_tombstone(key)
        assert list((await store.events(key)).events) == []
        assert list(await store.attempts(key)) == []

    async def test_a_filter_that_cannot_match_matches_nothing(self, store: JobStore) -> None:
        await accept(store, new_job())

        for matching in (JobFilter(model=LONE), JobFilter(queue=LONE), JobFilter(labels={LONE: LONE})):
            assert list((await store.find("alice", matching)).jobs) == []
        assert list((await store.find(LONE, JobFilter())).jobs) == []

    async def test_an_error_text_that_cannot_be_stored_keeps_no_neighbour(self, store: JobStore) -> None:
        await accept(store, *new_jobs(3))
        first, hostile, third = (await claim(store)).claims

        answers = await asyncio.gather(
            store.finish([success(first)]),
            store.finish([failure(hostile, error(message=LONE))]),
            store.finish([success(third)]),
            return_exceptions=True,
        )

        assert (answers[0], answers[2]) == (["done"], ["done"])
        assert (await insert_one(store, new_job())).kind == "inserted"

    async def test_a_progress_text_that_cannot_be_stored_keeps_no_neighbour(self, store: JobStore) -> None:
        await accept(store, *new_jobs(2))
        hostile, good = (await claim(store)).claims

        _, answer = await asyncio.gather(
            store.record([Record(*hostile.job_key, 1, Progress(message=LONE), ref=hostile.ref)], LIMITS),
            store.record([Record(*good.job_key, 1, Progress(message="fine"), ref=good.ref)], LIMITS),
            return_exceptions=True,
        )

        assert answer == [3]
        job = await get_one(store, good.job_key)
        assert job.progress == Progress(message="fine")

    async def test_a_forged_ref_is_harmless(self, store: JobStore) -> None:
        claimed = await start(store)

        for forged in ("x", -1, 2**80, b"", object(), (1, 2)):
            answers = await store.finish([replace(success(claimed), attempt=9, ref=forged)])
            assert list(answers) == ["lost"]
        await store.extend("worker-1", [replace(lease_of(claimed), ref=None)], 60_000)

        assert (await end(store, replace(success(claimed), ref=None))).status == "succeeded"


class BinaryTests(StoreCase):
    @pytest.mark.parametrize("value", [b"", b"\x00", b"\xff\xfe", b"\x93\x01", bytes(range(256))], ids=repr)
    async def test_bytes_are_kept_as_they_are(self, store: JobStore, value: bytes) -> None:
        job: NewJob = new_job(input=value, fingerprint=value, metadata=value, dedup=value, dedup_until=2**60)

        claimed = await start(store, job)
        ended = await end(store, success(claimed, value))

        assert (claimed.input, claimed.metadata) == (value, value)
        assert (ended.result, ended.fingerprint, ended.metadata) == (value, value, value)
        assert await find_one(store, job.job_key) == ended
