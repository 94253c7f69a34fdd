"""A manager whose opening fails leaves nothing running behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from asyncinfer import JobManager, SetupContext, model
from asyncinfer.errors import SetupFailed


class Broken:
    def setup(self, ctx: SetupContext) -> None:
        raise OSError("no weights here")

    def predict(self, number: int) -> int:
        return number


broken = model(Broken, name="broken")


async def test_a_failed_setup_ends_what_has_started(open_manager: Callable[..., JobManager]) -> None:
    before = asyncio.all_tasks()

    with pytest.raises(SetupFailed, match="broken"):
        await open_manager(broken).__aenter__()

    assert asyncio.all_tasks() == before


async def test_a_worker_that_could_not_open_is_not_listed(open_manager: Callable[..., JobManager]) -> None:
    with pytest.raises(SetupFailed):
        await open_manager(broken).__aenter__()

    async with open_manager(run_jobs=False) as manager:
        assert await manager.workers() == []


async def test_a_manager_that_could_not_open_may_be_opened_again(open_manager: Callable[..., JobManager]) -> None:
    manager = open_manager(broken)
    for _ in range(2):
        with pytest.raises(SetupFailed):
            await manager.__aenter__()
