"""Four ways in which time ends a job, each with its own error code."""

import asyncio
from datetime import UTC, datetime, timedelta

from asyncinfer import JobFailed, JobManager, Model, model


@model
async def slow() -> str:
    await asyncio.sleep(3600)
    return "done"


async def code_of(manager: JobManager, model_: Model[[], str, object]) -> str:
    job = await manager.submit(model_)
    try:
        return await job
    except JobFailed as failed:
        return failed.code


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[slow]) as manager:
        print("time_limit:", await code_of(manager, slow.options(time_limit=0.2)))

        soon = datetime.now(UTC) + timedelta(seconds=0.5)
        print("deadline:", await code_of(manager, slow.options(deadline=soon)))

        await manager.pause("default")
        print("queue_timeout:", await code_of(manager, slow.options(queue_timeout=0.2)))
        await manager.resume("default")

        job = await manager.submit(slow)
        try:
            await job.result(timeout=0.2)
        except TimeoutError:
            print("timeout= ends only the wait; the job is", await job.status())
        await job.cancel()


asyncio.run(main())
