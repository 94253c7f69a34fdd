"""Submit one job, await its result, look at its record."""

import asyncio

from asyncinfer import JobManager, model


@model
def caption(image: bytes, *, lang: str = "en") -> str:
    return f"{len(image)} bytes, described in {lang}"


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[caption]) as manager:
        job = await manager.submit(caption, b"a picture", lang="fr")
        print("accepted", job.id)
        print("result:", await job)

        record = await manager.get(job.id)
        print("record:", record.status, "after", record.attempt, "attempt")


asyncio.run(main())
