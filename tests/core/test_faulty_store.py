"""FaultyStore: fails where it was told to, and forwards everything else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asyncinfer.abc import Clock, JobKey, JobStore
from asyncinfer.errors import InvalidOption, OutcomeUnknown, StoreUnavailable
from asyncinfer.testing import FakeClock, FaultyStore, StoreSuite
from asyncinfer.testing.builders import new_job
from asyncinfer.testing.steps import LIMITS, find_one, insert_one
from asyncinfer_memory import MemoryStore

NOBODY = JobKey("alice", "nobody")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def store(clock: FakeClock) -> AsyncIterator[FaultyStore]:
    store = FaultyStore(MemoryStore(clock))
    await store.open()
    yield store
    await store.close()


class TestFaultyStore(StoreSuite):
    """Without a fault it is the store that it wraps."""

    def make_store(self, clock: Clock, place: Path) -> JobStore:
        return FaultyStore(MemoryStore(clock))


async def test_a_fault_before_a_call_keeps_it_from_happening(store: FaultyStore) -> None:
    job = new_job()
    store.fail("insert", StoreUnavailable)

    with pytest.raises(StoreUnavailable, match="insert"):
        await insert_one(store, job)

    assert await find_one(store, job.job_key) is None


async def test_a_fault_after_a_call_loses_only_the_answer(store: FaultyStore) -> None:
    job = new_job()
    store.fail("insert", OutcomeUnknown("no answer"), when="after")

    with pytest.raises(OutcomeUnknown, match="no answer"):
        await insert_one(store, job)

    assert await find_one(store, job.job_key) is not None


async def test_a_fault_strikes_the_call_that_was_named_and_no_other(store: FaultyStore) -> None:
    fault = store.fail("insert", StoreUnavailable)

    await store.get([NOBODY])

    assert fault.hits == 0
    assert not fault.reached.is_set()


async def test_a_fault_strikes_from_the_nth_call_on_and_then_no_more(store: FaultyStore) -> None:
    fault = store.fail("get", StoreUnavailable, nth=3, times=2)

    outcomes = [await asyncio.gather(store.get([NOBODY]), return_exceptions=True) for _ in range(6)]

    assert [isinstance(outcome, StoreUnavailable) for (outcome,) in outcomes] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert fault.hits == 2


async def test_an_outage_lasts_until_it_is_healed(store: FaultyStore) -> None:
    store.fail("*", StoreUnavailable, times=None)
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            await store.counts()
    with pytest.raises(StoreUnavailable):
        await store.outbox.next_due_at()

    store.heal()

    assert await store.outbox.next_due_at() is None


async def test_an_outage_does_not_keep_a_store_from_closing(store: FaultyStore) -> None:
    store.fail("*", StoreUnavailable, times=None)

    await store.close()


async def test_opening_can_fail_when_it_is_named(clock: FakeClock) -> None:
    store = FaultyStore(MemoryStore(clock))
    store.fail("open", StoreUnavailable)

    with pytest.raises(StoreUnavailable):
        await store.open()


async def test_a_call_of_the_outbox_can_fail(store: FaultyStore) -> None:
    store.fail("outbox.owed", StoreUnavailable)

    with pytest.raises(StoreUnavailable):
        await store.outbox.owed(1, 1)


async def test_a_hanging_call_goes_on_when_it_is_released(store: FaultyStore) -> None:
    stuck = store.hang("insert", when="after")
    call = asyncio.create_task(insert_one(store, job := new_job()))
    await asyncio.wait_for(stuck.reached.wait(), timeout=5)
    assert not call.done()
    assert await find_one(store, job.job_key) is not None

    stuck.release()

    assert (await call).kind == "inserted"


async def test_a_hanging_call_can_be_cancelled_before_it_happens(store: FaultyStore) -> None:
    stuck = store.hang("insert")
    call = asyncio.create_task(insert_one(store, job := new_job()))
    await asyncio.wait_for(stuck.reached.wait(), timeout=5)

    call.cancel()
    await asyncio.wait([call])

    assert await find_one(store, job.job_key) is None


async def test_healing_releases_what_hangs(store: FaultyStore) -> None:
    stuck = store.hang("counts")
    call = asyncio.create_task(store.counts())
    await asyncio.wait_for(stuck.reached.wait(), timeout=5)

    store.heal()

    assert list(await asyncio.wait_for(call, timeout=5)) == []


async def test_a_delay_runs_on_the_stores_clock(store: FaultyStore, clock: FakeClock) -> None:
    store.delay("counts", 30.0)
    call = asyncio.create_task(store.counts())

    await clock.advance(29)
    assert not call.done()
    await clock.advance(1)

    assert list(await asyncio.wait_for(call, timeout=5)) == []


async def test_a_feed_of_changes_can_fail(store: FaultyStore) -> None:
    store.fail("changes", StoreUnavailable)

    with pytest.raises(StoreUnavailable):
        await anext(store.changes())


async def test_a_feed_of_changes_ends_when_the_store_closes(store: FaultyStore) -> None:
    async def read_hints() -> None:
        async for _ in store.changes():
            pass

    reader = asyncio.create_task(read_hints())
    await asyncio.sleep(0)

    await store.close()

    await asyncio.wait_for(reader, timeout=5)
    assert store.calls_of("changes") == 1


async def test_calls_are_listed_with_their_arguments(store: FaultyStore) -> None:
    job = new_job()
    await store.insert([job], LIMITS)
    await store.outbox.owed(3, 4)

    assert [(call.name, call.args) for call in store.calls] == [
        ("open", ()),
        ("insert", ([job], LIMITS)),
        ("outbox.owed", (3, 4)),
    ]
    assert store.calls_of("insert") == 1


@pytest.mark.parametrize("name", ["inserts", "from_url", "outbox", "outbox.inserts", ""])
async def test_a_call_that_no_store_has_is_refused(store: FaultyStore, name: str) -> None:
    with pytest.raises(InvalidOption, match="call"):
        store.fail(name, StoreUnavailable)


def test_it_wraps_an_object_and_has_no_url() -> None:
    with pytest.raises(InvalidOption):
        FaultyStore.from_url("faulty://")
