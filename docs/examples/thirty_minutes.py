"""A job of half an hour (a second, here) beside a web server: its worker dies, it goes on; another one is killed."""

import asyncio

from long_models import allocate, hold, render

from asyncinfer import JobCanceled, JobFailed, JobManager, StatusEvent
from asyncinfer_process import ProcessExecutor


async def main() -> None:
    processes = ProcessExecutor(slots=2, spares=1)
    async with JobManager(
        "sqlite:///jobs.db", models=[render, hold, allocate], executors={"process": processes}, cancel_grace=0.2
    ) as manager:
        long = await manager.submit(render, 1_000)
        stuck = await manager.submit(hold)
        async for event in stuck.events():
            if isinstance(event, StatusEvent) and event.status == "running":
                break
        await stuck.cancel()
        try:
            await stuck
        except JobCanceled:
            print("the stubborn one: canceled, its process ended")

        too_large = await manager.submit(allocate, 4_096)
        try:
            await too_large
        except JobFailed as failed:
            print("the greedy one:", failed.code)

        print("the long one:", await long)
        for attempt in await manager.attempts(long.id):
            why = f": {attempt.error.message.rpartition(': ')[2]}" if attempt.error else ""
            print(f"  attempt {attempt.number} {attempt.outcome}{why}")


asyncio.run(main())
