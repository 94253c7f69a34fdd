"""Results of a megabyte, many at once: more than memory should hold, and none lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from asyncinfer import JobManager, model
from asyncinfer._services.finisher import HELD_RESULT_BYTES
from asyncinfer.errors import StoreUnavailable
from asyncinfer.testing import FaultyStore
from asyncinfer_memory import MemoryStore

OpenManager = Callable[..., JobManager]
MEGABYTE = bytes(1024 * 1024)
COUNT = 90
assert COUNT * len(MEGABYTE) > HELD_RESULT_BYTES


async def test_results_that_end_together_are_all_kept_by_their_first_attempt(open_manager: OpenManager) -> None:
    everybody = asyncio.Barrier(COUNT)

    @model
    async def gives_a_megabyte() -> bytes:
        await everybody.wait()
        return MEGABYTE

    async with open_manager(gives_a_megabyte) as manager:
        handles = [await manager.submit(gives_a_megabyte) for _ in range(COUNT)]
        assert {len(await handle.result(timeout=50)) for handle in handles} == {len(MEGABYTE)}
        assert {(await manager.get(handle.id)).attempt for handle in handles} == {1}


async def test_while_the_store_is_away_memory_holds_no_more_than_its_bound(caplog: pytest.LogCaptureFixture) -> None:
    everybody = asyncio.Barrier(COUNT + 1)
    go_on = asyncio.Event()

    @model
    async def gives_a_megabyte() -> bytes:
        await everybody.wait()
        await go_on.wait()
        return MEGABYTE

    async with MemoryStore() as store:
        faulty = FaultyStore(store)
        async with JobManager(faulty, models=[gives_a_megabyte], drain_grace=0) as manager:
            handles = [await manager.submit(gives_a_megabyte) for _ in range(COUNT)]
            await everybody.wait()
            away = faulty.fail("finish", StoreUnavailable, times=None)
            first = manager._engine.worker.attempts.copy().popitem()[1]
            manager._engine.worker.stop(first, "deadline")  # one ending, so that the outage is known
            await away.reached.wait()
            go_on.set()
            await manager._engine.worker.wait_idle()
            faulty.heal()
            await manager._engine.finisher.wait_drained()
            ended = [await handle.status() for handle in handles].count("succeeded")
    assert 0 < ended <= HELD_RESULT_BYTES // len(MEGABYTE)
    dropped = [record for record in caplog.records if "its result is dropped" in record.message]
    assert len(dropped) == COUNT - 1 - ended
