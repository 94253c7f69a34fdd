"""What is known of a worker's death reaches its job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from asyncinfer import JobFailed, JobManager
from asyncinfer.abc import Call, JobError, JobKey, Outcome
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore
from asyncinfer_thread import LoopExecutor
from tests.manager.models import echo

STDERR = "\ud800" + "x" * 10_000 + "Fatal Python error: Segmentation fault"


class Dies(LoopExecutor):
    """Loses every attempt, for a reason that it knows."""

    async def run(self, call: Call) -> Sequence[Outcome]:
        error = JobError(code="out_of_memory", message="its process was killed by SIGKILL", traceback=STDERR)
        return [Outcome("worker_lost", error=error)] * len(call.items)


async def test_a_job_that_is_lost_too_often_says_how_the_last_worker_died() -> None:
    async with MemoryStore() as store, JobManager(store, models=[echo], executors={"loop": Dies()}) as manager:
        handle = await manager.submit(echo, "hi")

        with pytest.raises(JobFailed, match="its crash budget is spent: its process was killed by SIGKILL") as failed:
            await handle

        assert failed.value.error.code == "crash_budget"
        assert failed.value.error.details == {"cause": "out_of_memory"}
        assert failed.value.error.traceback.endswith("Fatal Python error: Segmentation fault")
        assert len(failed.value.error.traceback) <= 8_192
        attempts = await store.attempts(JobKey("", handle.id))
        assert [attempt.error and attempt.error.code for attempt in attempts] == ["out_of_memory"] * 2 + [
            "crash_budget"
        ]


class Forgets(LoopExecutor):
    """Answers for no job."""

    async def run(self, call: Call) -> Sequence[Outcome]:
        return []


async def test_a_job_of_an_executor_that_does_not_answer_for_it_is_lost_and_not_running_for_ever() -> None:
    async with MemoryStore() as store, JobManager(store, models=[echo], executors={"loop": Forgets()}) as manager:
        handle = await manager.submit(echo, "hi")
        async with asyncio.timeout(10):
            with pytest.raises(JobFailed, match="it gave 0 outcomes for 1 jobs"):
                await handle


async def test_an_ending_of_a_lost_worker_is_told_without_a_poll() -> None:
    """The waiters' next look comes with the clock, which stands still."""
    store = MemoryStore(clock=FakeClock())
    async with store, JobManager(store, models=[echo], executors={"loop": Dies()}) as manager, asyncio.timeout(10):
        handle = await manager.submit(echo, "hi")

        with pytest.raises(JobFailed, match="its crash budget is spent"):
            await handle
