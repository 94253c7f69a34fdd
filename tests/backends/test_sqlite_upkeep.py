"""What happens beside the jobs: hints from other processes, the size of the files, damaged rows."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asyncinfer.abc import ClockGuard
from asyncinfer.testing import FakeClock
from asyncinfer.testing.builders import new_job, new_jobs, request, success
from asyncinfer.testing.steps import LIMITS, accept, claim, end, get_one, start
from asyncinfer_sqlite import SQLiteStore


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(tmp_path: Path, clock: FakeClock) -> AsyncIterator[SQLiteStore]:
    async with SQLiteStore(tmp_path / "jobs.db", clock=clock) as store:
        yield store


async def test_a_commit_elsewhere_is_a_hint(store: SQLiteStore) -> None:
    changes = store.changes()
    hint = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)
    async with SQLiteStore(store.path) as elsewhere, asyncio.timeout(5):
        await accept(elsewhere, new_job())

        assert await hint is None


async def test_the_hints_end_when_the_store_closes(store: SQLiteStore) -> None:
    changes = store.changes()
    hint = asyncio.ensure_future(anext(changes))
    await accept(store, new_job())

    await store.close()

    with pytest.raises(StopAsyncIteration):
        await hint


async def test_a_pruned_backlog_gives_its_space_back(store: SQLiteStore, clock: FakeClock) -> None:
    jobs = new_jobs(200, input=b"x" * 20_000, retention_result=0, retention_record=0)
    await store.insert(jobs, LIMITS)
    answer = await claim(store, request(slots=200))
    await store.finish([success(claimed, b"y" * 20_000) for claimed in answer.claims])
    full = await pages_of(store)

    await clock.advance(1)
    while await store.prune(100, tombstone=1_000):
        pass
    while await store._writer.look(lambda raw: raw.execute("PRAGMA freelist_count").fetchone()[0]):
        await store.prune(100, tombstone=1_000)

    assert await pages_of(store) < full / 10


async def test_the_log_is_bounded(store: SQLiteStore) -> None:
    for _ in range(30):
        await store.insert(new_jobs(20, input=b"x" * 100_000), LIMITS)
    await store.prune(1, tombstone=1_000)

    assert store.path.with_name("jobs.db-wal").stat().st_size < 64 * 1024 * 1024


@pytest.mark.parametrize(
    "damage",
    [
        "fixed = x'c1'",
        "fixed = 'text'",
        "fixed = x''",
        "tag = 'text'",
        "input = 17",
        "attempt = 'text'",
        "revision = 'text'",
        "input_bytes = 'text'",
        "created_at = x'00'",
    ],
)
async def test_a_damaged_job_fails_alone(store: SQLiteStore, damage: str) -> None:
    before, damaged, after = new_jobs(3)
    await accept(store, before, damaged, after)
    break_row(store, damaged.id, damage)

    answer = await claim(store, request())

    assert [claimed.id for claimed in answer.claims] == [before.id, after.id]
    assert list(answer.ended) == [damaged.job_key]
    job = await get_one(store, damaged.job_key)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code == "undecodable"


@pytest.mark.parametrize("damage", ["fixed = x'c1'", "fixed = 'text'"])
async def test_a_job_damaged_while_it_runs_can_still_end(store: SQLiteStore, damage: str) -> None:
    claimed = await start(store)
    break_row(store, claimed.id, damage)

    job = await end(store, success(claimed))

    assert (job.status, job.result) == ("succeeded", b"result")


async def test_a_damaged_error_is_shown_as_damaged(store: SQLiteStore) -> None:
    claimed = await start(store)
    await end(store, success(claimed))
    break_row(store, claimed.id, "error = x'c1'")

    job = await get_one(store, claimed.job_key)

    assert job.error is not None
    assert job.error.code == "undecodable"


async def test_delayed_jobs_wait_a_lease_after_a_long_sleep(tmp_path: Path, clock: FakeClock) -> None:
    async with SQLiteStore(tmp_path / "jobs.db", clock=clock) as store:
        await accept(store, new_job(not_before=clock.now() + 1_000), new_job())
    clock.jump(86_400)

    async with SQLiteStore(tmp_path / "jobs.db", clock=clock) as again:
        at_once = await claim(again, request())
        await clock.advance(61)
        later = await claim(again, request())

    assert isinstance(again.clock_guard, ClockGuard)
    assert (len(at_once.claims), len(later.claims)) == (1, 1)


async def pages_of(store: SQLiteStore) -> int:
    return int(await store._writer.look(lambda raw: raw.execute("PRAGMA page_count").fetchone()[0]))


def break_row(store: SQLiteStore, job_id: str, damage: str) -> None:
    raw = sqlite3.connect(store.path, timeout=5)
    raw.execute("PRAGMA ignore_check_constraints = ON")
    raw.execute(f"UPDATE jobs SET {damage} WHERE id = ?", (job_id,))
    raw.commit()
    raw.close()
