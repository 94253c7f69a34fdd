"""A model is set up before any of its jobs begins."""

from __future__ import annotations

import time
from pathlib import Path

from asyncinfer import JobManager, SetupContext, model


class Slow:
    """Its setup takes longer than one of its attempts may take."""

    def setup(self, ctx: SetupContext) -> None:
        time.sleep(1.5)  # loads weights

    def predict(self, number: int) -> int:
        return 2 * number


slow = model(Slow, name="slow", time_limit=1)


async def test_the_time_limit_of_a_job_does_not_pay_for_the_setup(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    async with JobManager(url, models=[slow], run_jobs=False) as submitter:
        waiting = await submitter.submit(slow, 21)
    async with JobManager(url, models=[slow]) as manager:
        assert await manager.handle(waiting.id, slow) == 42
