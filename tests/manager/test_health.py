"""What a manager says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from asyncinfer import JobManager
from asyncinfer.abc import JobStore
from asyncinfer.errors import StoreUnavailable
from asyncinfer.testing import FakeClock, FaultyStore
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from tests.manager.models import echo


async def test_a_running_manager_is_live_and_ready_and_says_what_is_durable(manager: JobManager) -> None:
    health = await manager.health()
    assert (health.is_live, health.is_ready, health.reasons, health.notices) == (True, True, [], ())
    assert health.durability


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_health_tells_of_a_clock_that_has_jumped(kind: str, tmp_path: Path) -> None:
    clock = FakeClock()
    stores: dict[str, JobStore] = {
        "memory": MemoryStore(clock=clock),
        "sqlite": SQLiteStore(tmp_path / "jobs.db", clock=clock),
    }
    async with stores[kind] as store, JobManager(store, models=[echo]) as manager:
        clock.jump(3_600)
        (notice,) = (await manager.health()).notices
        assert "wall clock" in notice


async def test_a_store_that_does_not_answer_makes_the_manager_unready() -> None:
    async with MemoryStore() as store:
        faulty = FaultyStore(store)
        async with JobManager(faulty, models=[echo]) as manager:
            faulty.fail("*", StoreUnavailable("the disk is on fire"), times=None)
            health = await manager.health()
            assert (health.is_live, health.is_ready, health.reasons) == (True, False, ["store: the disk is on fire"])
            faulty.heal()


async def test_a_service_with_a_defect_shows_in_health_and_at_the_end() -> None:
    async with MemoryStore() as store:
        faulty = FaultyStore(store)
        with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError)):
            async with JobManager(faulty, models=[echo]) as manager:
                failing = faulty.fail("claim", ZeroDivisionError, times=1)
                handle = await manager.submit(echo, "hi")
                await failing.reached.wait()
                while not (await manager.health()).reasons:
                    await store.workers()
                assert (await manager.health()).is_live is False
                assert await handle == "hi"  # it was started again
