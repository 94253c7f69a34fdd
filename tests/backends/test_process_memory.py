"""A model's memory_limit: what goes beyond it fails or ends its job, and takes nobody along."""

from __future__ import annotations

import pytest

from asyncinfer_process import _watchdog
from tests.backends import process_models as models
from tests.backends.process_stage import error_of, stage

LIMIT = 150 * models.MIB


async def test_an_allocation_beyond_the_limit_fails_its_job_and_the_process_lives_on() -> None:
    async with stage() as one:
        too_much = one.call(models.allocate, {"mib": 300}, memory_limit=LIMIT)
        (outcome,) = await one.executor.run(too_much)
        pids = one.executor.pids
        (following,) = await one.executor.run(one.call(models.allocate, {"mib": 10}, memory_limit=LIMIT))

        assert (outcome.kind, error_of(outcome).code) == ("raised", "out_of_memory")
        assert (following.kind, one.executor.pids) == ("returned", pids)


async def test_an_input_beyond_the_limit_is_out_of_memory() -> None:
    async with stage() as one:
        call = one.call(models.size, {"data": bytes(LIMIT)}, memory_limit=LIMIT)
        (outcome,) = await one.executor.run(call)

    assert (outcome.kind, error_of(outcome).code) == ("raised", "out_of_memory")


@pytest.mark.parametrize(("items", "kind"), [(1, "raised"), (2, "worker_lost")])
async def test_growth_by_shared_pages_ends_the_process(items: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alone the job is guilty; those of a batch are suspects."""
    monkeypatch.setattr(_watchdog, "LOOK_SECONDS", 0.02)
    async with stage() as one:
        call = one.call(models.GrowsShared, *[{"number": 300}] * items, memory_limit=LIMIT)
        outcomes = await one.executor.run(call)

    assert [(outcome.kind, error_of(outcome).code) for outcome in outcomes] == [(kind, "out_of_memory")] * items
    assert "its model's memory_limit is 150 MiB" in error_of(outcomes[0]).message


async def test_a_process_is_looked_at_only_where_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_watchdog, "LOOK_SECONDS", 0.02)
    async with stage() as one:
        assert await one.result(models.keep, mib=300) == one.executor.pids[0]
