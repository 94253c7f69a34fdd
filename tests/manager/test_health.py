"""What a manager says of itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from asyncinfer import Batch, JobCanceled, JobManager, MemoryBudget, Resources, SetupContext, model
from asyncinfer.abc import JobStore
from asyncinfer.errors import StoreUnavailable
from asyncinfer.testing import FakeClock, FaultyStore
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from tests.manager.models import echo


class Loaded:
    def setup(self, ctx: SetupContext) -> None: ...

    def predict(self, number: int) -> int:
        return number


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


async def test_a_store_that_was_away_is_no_failure_of_a_service(caplog: pytest.LogCaptureFixture) -> None:
    async with MemoryStore() as store:
        faulty = FaultyStore(store)
        models = [model(Loaded, name=name, resources=Resources(memory=60), preload=False) for name in ("one", "two")]
        async with JobManager(faulty, models=models, memory=MemoryBudget(host=100, idle_seconds=0)) as manager:
            assert await (await manager.submit(models[0], 1)) == 1
            failing = faulty.fail("counts", StoreUnavailable("the disk is on fire"), times=1)
            handle = await manager.submit(models[1], 2)
            await failing.reached.wait()
            assert await handle == 2
            assert (await manager.health()).is_ready
    assert "service room maker: the disk is on fire; starting it again" in caplog.text


async def test_abandoned_calls_are_told_beside_a_batch(open_manager: Callable[..., JobManager]) -> None:
    entered, left = threading.Event(), threading.Event()

    class Held:
        def predict_batch(self, items: list[int]) -> list[int]:
            entered.set()
            assert left.wait(20)
            return items

    held = model(Held, name="held", batch=Batch(max_size=4), executor="thread")
    async with open_manager(held, cancel_grace=0, concurrency={"thread": 2}) as manager:
        ended = await manager.submit(held, 0)
        assert await asyncio.to_thread(entered.wait, 20)
        await ended.cancel()
        with pytest.raises(JobCanceled):
            await ended.result()
        entered.clear()
        await manager.pause("default")
        waiting = await manager.submit_many([held.bind(number) for number in range(4)])
        await manager.resume("default")
        assert await asyncio.to_thread(entered.wait, 20)
        health = await manager.health()
        left.set()
        await asyncio.gather(*waiting)

    assert (health.running, health.abandoned) == (4, {"thread": 1})


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
