"""Emit output that outlives the connection, resume behind the last event seen, start over when the job does."""

import asyncio
from collections.abc import AsyncIterator

from asyncinfer import JobManager, OutputEvent, ResetEvent, RetryPolicy, current_job, model
from asyncinfer.errors import StreamReset


@model
def find_faces(frames: int) -> int:
    for frame in range(frames):
        current_job().emit({"frame": frame, "faces": frame % 2})
    return frames


@model(retry=RetryPolicy(max_attempts=2, initial_delay=0.1))
async def tell(story: str) -> AsyncIterator[str]:
    for word in story.split():
        yield word
    if current_job().attempt == 1:
        raise ConnectionError("interrupted")


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[find_faces, tell]) as manager:
        job = await manager.submit(find_faces, 4)

        seen = 0  # what a client keeps: the id of the last event it has handled
        async for event in job.events():
            if isinstance(event, OutputEvent):
                print("before the connection broke:", event.value)
                seen = event.id
                if event.value["frame"] == 1:
                    break
        async for event in manager.handle(job.id).events(after=seen):
            if isinstance(event, OutputEvent):
                print("after it was resumed:", event.value)

        story = await manager.submit(tell, "once upon")
        await story
        async for event in story.events():
            if isinstance(event, OutputEvent):
                print("told:", event.value)
            elif isinstance(event, ResetEvent):
                print("attempt", event.attempt, "begins: drop what was told")

        # stream() gives values only, so a new attempt is an exception: stream it again.
        try:
            async for word in story.stream():
                print("streamed:", word)
        except StreamReset as reset:
            print("attempt", reset.attempt, "began: drop what was streamed")


asyncio.run(main())
