"""What an operator's own code can ask and do: health, counts, workers, drain, and a copy of the file."""

import asyncio
import sqlite3
from contextlib import closing

from asyncinfer import JobFilter, JobManager, model


@model
async def double(number: int) -> int:
    return 2 * number


def back_up(source: str, copy: str) -> None:
    """Copy an SQLite store while it is in use; never copy the file alone, what is newest lies in its -wal."""
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(copy)) as target:
        live.backup(target)


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[double]) as manager:
        for job in await manager.submit_many([double.options(labels={"run": "7"}).bind(n) for n in range(3)]):
            await job
        await manager.submit(double.options(delay=3600), 4)

        health = await manager.health()
        print("ready:", health.is_ready, "reasons:", list(health.reasons))
        print("an accepted job", health.durability)
        for count in await manager.counts():
            print(count.queue, count.model, "queued", count.queued, "succeeded", count.succeeded)
        page = await manager.find(JobFilter(status=("succeeded",), labels={"run": "7"}), limit=2)
        print("found", len(page.jobs), "and there are more:", page.next_cursor is not None)
        print("workers:", [worker.slots for worker in await manager.workers()])

        await asyncio.to_thread(back_up, "jobs.db", "copy.db")
        await manager.drain(grace=5)  # for a host that closes in steps; leaving `async with` does it too
        print("ready while draining:", (await manager.health()).reasons)

    async with JobManager("sqlite:///copy.db", run_jobs=False) as restored:
        print("in the copy:", sorted([job.status async for job in restored.find_all()]))


asyncio.run(main())
