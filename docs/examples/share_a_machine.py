"""Load models when their jobs come, unload idle ones for others, and keep a slot for short jobs."""

import asyncio

from asyncinfer import JobManager, Limits, MemoryBudget, QueueLimits, Resources, SetupContext, model

GIB = 1024**3


class Weights:
    def setup(self, ctx: SetupContext) -> None:
        self.name = ctx.model
        print("load", ctx.model)

    def warmup(self, ctx: SetupContext) -> None:
        self.predict("a first call, so that no job pays for it")

    def teardown(self) -> None:
        print("unload", self.name)

    def predict(self, text: str) -> int:
        return len(text)


class Small:
    def predict(self, text: str) -> int:
        return len(text)


small = model(Small, name="small", queue="short", resources=Resources(memory=1 * GIB, pinned=True))
large = model(Weights, name="large", resources=Resources(memory=6 * GIB, slots=2))
larger = model(Weights, name="larger", resources=Resources(memory=7 * GIB, slots=2), preload=False)


async def main() -> None:
    async with JobManager(
        "sqlite:///jobs.db",
        models=[small, large, larger],
        memory=MemoryBudget(host=8 * GIB, idle_seconds=0),  # 30 s by default
        limits=Limits(queues={"short": QueueLimits(reserve=1)}),
        concurrency=4,
    ) as manager:
        print({one.name: one.state for one in manager.models()})
        print("result:", await (await manager.submit(larger, "does not fit beside large")))
        print({one.name: one.state for one in manager.models()})


asyncio.run(main())
