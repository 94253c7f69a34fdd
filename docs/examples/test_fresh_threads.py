"""The public suite holds the executor to its contract; a manager runs a job on it."""

import pytest
from fresh_threads import FreshThreadExecutor

from asyncinfer import JobManager, model
from asyncinfer.testing import ExecutorSuite


class TestFreshThreads(ExecutorSuite):
    kinds = ("def",)

    def make_executor(self, slots: int) -> FreshThreadExecutor:
        return FreshThreadExecutor(slots)


@model(executor="fresh")
def double(number: int) -> int:
    return 2 * number


@pytest.mark.asyncio
async def test_a_manager_runs_jobs_on_it() -> None:
    async with JobManager("memory://", models=[double], executors={"fresh": FreshThreadExecutor(2)}) as manager:
        job = await manager.submit(double, 21)
        assert await job.result(timeout=10) == 42
