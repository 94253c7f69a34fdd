"""A process that only submits: it imports no model, and knows them by what workers have published in the store."""

import asyncio

from asyncinfer import JobManager


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", run_jobs=False) as manager:
        print("models:", [published.name for published in manager.models()])

        job = await manager.submit(manager.model("caption"), image=b"a picture", lang="de")
        print("result:", await job.result(timeout=30))


asyncio.run(main())
