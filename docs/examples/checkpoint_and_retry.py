"""Fail half-way, and go on from the last checkpoint instead of from the start."""

import asyncio

from asyncinfer import JobManager, RetryPolicy, current_job, model


@model(retry=RetryPolicy(max_attempts=3, initial_delay=0.1, retry_on=(ConnectionError,)))
def transcribe(minutes: int) -> list[str]:
    ctx = current_job()
    done = ctx.load_checkpoint(list[str]) or []
    print(f"attempt {ctx.attempt} begins at minute {len(done)}")
    for minute in range(len(done), minutes):
        if minute == 2 and ctx.attempt == 1:
            raise ConnectionError("the audio server went away")
        done.append(f"minute {minute}")
        ctx.save_checkpoint(done)
    return done


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[transcribe]) as manager:
        job = await manager.submit(transcribe, 4)
        print(await job)
        for attempt in await manager.attempts(job.id):
            print(
                "attempt", attempt.number, attempt.outcome, "-", attempt.error.message if attempt.error else "no error"
            )


asyncio.run(main())
