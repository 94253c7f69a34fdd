"""Run this twice. The first run is killed by its own model; the second finds the job again and finishes it."""

import asyncio
import os
import signal

from asyncinfer import JobManager, current_job, model


@model
def upscale(name: str) -> str:
    if current_job().attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)  # as the kernel does when memory runs out
    return f"{name}, four times as large"


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[upscale]) as manager:
        # The same key and input are answered with the same job, in whatever process.
        job = await manager.submit(upscale.options(idempotency_key="upscale-photo-1"), "photo-1")
        print("found it again" if job.is_existing else "new", flush=True)
        print(await job)

        record = await manager.get(job.id)
        print(record.status, "in attempt", record.attempt, "after", record.crashes, "crash")


asyncio.run(main())
