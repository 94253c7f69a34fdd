"""Cancel a waiting job, a running coroutine and a running thread."""

import asyncio
import time

from asyncinfer import JobCanceled, JobHandle, JobManager, StatusEvent, current_job, model


@model
async def waits() -> None:
    await asyncio.Event().wait()  # an async def is cancelled where it awaits


@model
def counts() -> None:
    while True:
        current_job().raise_if_canceled()  # a thread must look: nothing can stop it from outside
        time.sleep(0.01)


async def until_it_runs(job: JobHandle[None]) -> None:
    async for event in job.events():
        if isinstance(event, StatusEvent) and event.status == "running":
            return


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[waits, counts]) as manager:
        later = await manager.submit(waits.options(delay=3600))
        print("waiting job:", await later.cancel(), "->", await later.status())

        for model_ in (waits, counts):
            job = await manager.submit(model_)
            await until_it_runs(job)
            print(f"running {model_.name}:", await job.cancel())
            try:
                await job
            except JobCanceled:
                print("awaiting it raises JobCanceled")


asyncio.run(main())
