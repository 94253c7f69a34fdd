"""Submit the same thing twice and get one job."""

import asyncio

from asyncinfer import IdempotencyConflict, JobManager, model


@model
async def total(prices: list[int]) -> int:
    return sum(prices)


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[total]) as manager:
        order = total.options(idempotency_key="order-7")
        first = await manager.submit(order, [3, 4])
        again = await manager.submit(order, [3, 4])
        print("same job:", first.id == again.id, "- was there already:", again.is_existing)

        try:
            await manager.submit(order, [100])
        except IdempotencyConflict as conflict:
            print("another input under that key is refused:", conflict.job_id == first.id)

        # A key belongs to its owner: two customers may use the same one.
        ann, bob = manager.scoped("ann"), manager.scoped("bob")
        jobs = [await owner.submit(order, [5]) for owner in (ann, bob)]
        print("two owners, two jobs:", jobs[0].id != jobs[1].id)

        # Without a key: the input itself names the job, for so many seconds.
        one = await manager.submit(total.options(dedup=60), [8, 9])
        two = await manager.submit(total.options(dedup=60), [8, 9])
        print("deduplicated:", one.id == two.id, "- result:", await two)


asyncio.run(main())
