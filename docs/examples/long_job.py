"""A long job survives a deploy: it is given back uncharged, and the next process goes on from its checkpoint."""

import asyncio
import time

import msgspec

from asyncinfer import JobManager, ProgressEvent, current_job, model

STEPS = 2_000


class State(msgspec.Struct):
    step: int = 0
    loss: float = 1.0


@model
def train(steps: int) -> State:
    ctx = current_job()
    state = ctx.load_checkpoint(State) or State()
    print("attempt", ctx.attempt, "begins at step 0" if state.step == 0 else "goes on from a checkpoint")
    while state.step < steps:
        ctx.raise_if_canceled()  # a drain that is out of patience is a cancel too
        time.sleep(0.001)  # the work of one step
        state = State(state.step + 1, state.loss * 0.99)
        if state.step % 50 == 0:
            ctx.save_checkpoint(state)
            ctx.progress(state.step / steps)
    return state


async def main() -> None:
    url = "sqlite:///jobs.db"
    async with JobManager(url, models=[train], drain_grace=0) as before_the_deploy:
        job = await before_the_deploy.submit(train, STEPS)
        async for event in job.events():
            if isinstance(event, ProgressEvent):
                break  # it runs, and has saved something: deploy now

    async with JobManager(url, models=[train]) as after_the_deploy:
        state = await after_the_deploy.handle(job.id, train)
        print("done at step", state.step)
        record = await after_the_deploy.get(job.id)
        print("attempts:", record.attempt, "failures:", record.failures, "crashes:", record.crashes)


asyncio.run(main())
