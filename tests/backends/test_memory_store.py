"""The memory store keeps every rule of the contract, and what only it promises."""

import asyncio
import gc
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from asyncinfer.abc import Clock, JobKey, JobStore, Limits
from asyncinfer.errors import InvalidOption
from asyncinfer.testing import FakeClock, StoreSuite
from asyncinfer.testing.builders import new_job, new_jobs, request, success
from asyncinfer_memory import MemoryStore

LIMITS = Limits(queued_jobs=1_000_000)


class TestMemoryStore(StoreSuite):
    def make_store(self, clock: Clock, place: Path) -> JobStore:
        return MemoryStore(clock)


@pytest.mark.parametrize("url", ["memory://name", "memory:", "memory:///", "sqlite:///jobs.db"])
def test_a_url_with_anything_behind_it_is_refused(url: str) -> None:
    with pytest.raises(InvalidOption, match="memory://"):
        MemoryStore.from_url(url)


async def test_what_it_holds_outlives_the_manager_that_closed_it() -> None:
    store, job = MemoryStore(), new_job()
    await store.open()
    await store.insert([job], LIMITS)
    await store.close()
    await store.open()

    assert list(await store.submissions([job.job_key])) == [job]


class TestClockGuard:
    async def test_a_jump_of_an_hour_expires_nothing_for_one_lease(self) -> None:
        clock = FakeClock()
        store = MemoryStore(clock)
        await store.insert([new_job(expire_at=clock.now() + 60_000)], LIMITS)
        await store.extend("worker", [], 10_000)

        clock.jump(3600)
        during = await store.expire(10)
        await clock.advance(9)
        still = await store.expire(10)
        await clock.advance(2)
        after = await store.expire(10)

        assert (len(during), len(still), len(after)) == (0, 0, 1)

    async def test_a_claim_after_a_jump_runs_the_job_instead_of_ending_it(self) -> None:
        clock = FakeClock()
        store = MemoryStore(clock)
        job = new_job(expire_at=clock.now() + 60_000)
        await store.insert([job], LIMITS)

        clock.jump(3600)
        (answer,) = await store.claim([request()])

        assert [claim.id for claim in answer.claims] == [job.id]

    async def test_a_delayed_job_is_promoted_when_the_pause_is_over_and_the_claim_says_when(self) -> None:
        clock = FakeClock()
        store = MemoryStore(clock)
        await store.insert([new_job(not_before=clock.now() + 60_000)], LIMITS)

        clock.jump(3600)
        (during,) = await store.claim([request()])
        assert during.next_at is not None
        await clock.advance((during.next_at - clock.now()) / 1000)
        (after,) = await store.claim([request()])

        assert (len(during.claims), len(after.claims)) == (0, 1)

    async def test_prune_forgets_nothing_during_the_pause(self) -> None:
        clock = FakeClock()
        store = MemoryStore(clock)
        await store.insert([new_job(retention_record=60_000)], LIMITS)
        (answer,) = await store.claim([request()])
        await store.finish([success(answer.claims[0])])

        clock.jump(3600)
        during = await store.prune(10, 0)
        await clock.advance(61)
        after = await store.prune(10, 0)

        assert (during, after) == (0, 2)


class TestChanges:
    async def test_a_change_reaches_the_other_manager_on_the_object(self) -> None:
        store, job = MemoryStore(), new_job()
        await store.open()
        first, second = store.changes(), store.changes()
        waiting = [asyncio.ensure_future(anext(each)) for each in (first, second)]
        await asyncio.sleep(0)

        await store.insert([job], LIMITS)

        assert await asyncio.gather(*waiting) == [[job.job_key], [job.job_key]]

    async def test_a_lone_manager_gets_no_hints_of_its_own_changes(self) -> None:
        store = MemoryStore()
        await store.open()
        heard = asyncio.ensure_future(collect(store))
        await asyncio.sleep(0)

        await store.insert(new_jobs(3), LIMITS)
        await store.close()

        assert await heard == []

    async def test_too_many_hints_become_one_that_says_look_at_everything(self) -> None:
        store = MemoryStore()
        await store.open()
        feeds = [store.changes(), store.changes()]
        waiting = [asyncio.ensure_future(anext(each)) for each in feeds]
        await asyncio.sleep(0)

        await store.insert(new_jobs(2_000), LIMITS)

        assert await asyncio.gather(*waiting) == [None, None]

    async def test_hints_go_on_until_the_last_manager_has_closed_the_store(self) -> None:
        store = MemoryStore()
        await store.open()
        await store.open()
        readers = [asyncio.ensure_future(collect(store)) for _ in range(2)]
        await asyncio.sleep(0)

        await store.close()
        job = new_job()
        await store.insert([job], LIMITS)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await store.close()

        assert await asyncio.gather(*readers) == [[[job.job_key]], [[job.job_key]]]


async def collect(store: MemoryStore) -> list[Sequence[JobKey] | None]:
    return [keys async for keys in store.changes()]


async def test_a_waiting_job_takes_at_most_2_kib() -> None:
    count = 20_000
    store = MemoryStore()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(count // 1_000):
            await store.insert([new_job(input=bytes(20)) for _ in range(1_000)], LIMITS)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert (after - before) / count <= 2_048


async def test_an_ended_and_forgotten_job_leaves_nothing_behind() -> None:
    clock = FakeClock()
    store = MemoryStore(clock)
    await store.insert([new_job(owner=f"owner-{n}", retention_record=0) for n in range(100)], LIMITS)
    (answer,) = await store.claim([request()])
    await store.finish([success(claim) for claim in answer.claims])

    assert await store.prune(1_000, 0) == 200

    assert not store._tables.shelves
    assert not store._tables.tombstones
    assert list(await store.counts()) == []
