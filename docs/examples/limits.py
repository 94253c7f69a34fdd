"""Refuse what would not fit, tell when to come back, or wait for room."""

import asyncio

from asyncinfer import JobManager, Limits, QueueFull, QueueLimits, model
from asyncinfer.errors import QuotaExceeded


@model(concurrency=2)  # at most two at once in this manager
async def embed(text: str) -> int:
    return len(text)


@model(queue="reports")
async def report(title: str) -> str:
    return title.upper()


LIMITS = Limits(
    queued_jobs=3,  # waiting jobs in each queue that is not named below
    owner_queued_jobs=2,  # waiting jobs of one owner, over all queues
    queues={"reports": QueueLimits(queued_jobs=100, concurrency=1)},
)


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[embed, report], limits=LIMITS) as manager:
        await manager.pause("default")  # so that the queue fills up
        ann, bob = manager.scoped("ann"), manager.scoped("bob")

        jobs = [await ann.submit(embed, "one"), await ann.submit(embed, "three")]
        try:
            await ann.submit(embed, "too many of ann's")
        except QuotaExceeded as refused:
            print("refused by", refused.limit)

        jobs.append(await bob.submit(embed, "fifteen"))
        try:
            await bob.submit(embed, "the queue is full")
        except QueueFull as refused:
            print("refused by", refused.limit, "- try again in 1 to 60 s:", 1 <= refused.retry_after <= 60)

        waiting = asyncio.create_task(bob.submit(embed.options(wait_for_room=True), "patient"))
        await manager.resume("default")
        jobs.append(await waiting)
        print("results:", await asyncio.gather(*jobs))
        print("another queue is not touched:", await (await manager.submit(report, "q3")))


asyncio.run(main())
