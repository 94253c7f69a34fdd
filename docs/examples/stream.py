"""Stream what a generator model yields, typed, while it runs."""

import asyncio
from collections.abc import Iterator

from asyncinfer import JobManager, model


@model
def describe(topic: str) -> Iterator[str]:
    yield from f"A {topic} is a kind of animal".split()


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[describe]) as manager:
        job = await manager.submit(describe, "marten")
        async for token in job.stream():  # token is a str, for the type checker too
            print(token)
        print(await job)  # the result of a generator is the list of its yields


asyncio.run(main())
