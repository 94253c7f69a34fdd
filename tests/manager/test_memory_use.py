"""What ended jobs leave in memory."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from asyncinfer import JobManager
from asyncinfer._services.attempt import RunningAttempt
from tests.manager.models import echo


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def attempts_in_memory() -> int:
    return sum(isinstance(one, RunningAttempt) for one in gc.get_objects())


@pytest.mark.usefixtures("no_collector")
async def test_an_ended_attempt_is_freed_without_the_collector(manager: JobManager) -> None:
    before = attempts_in_memory()  # the traceback of an earlier test's error may hold some
    handles = [await manager.submit(echo, "gone") for _ in range(20)]
    await asyncio.gather(*handles)
    assert attempts_in_memory() == before
