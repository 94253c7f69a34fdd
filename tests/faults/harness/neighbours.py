"""Jobs that run beside those which a test breaks: submitted and awaited, one after the other, without a pause."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from asyncinfer import Job, JobFailed, JobHandle, JobManager, Model

PATIENCE_SECONDS = 60.0


@asynccontextmanager
async def neighbours(
    manager: JobManager, one: Model[[str], str, object], *, clients: int
) -> AsyncGenerator[Sequence[JobHandle[str]], None]:
    """Let so many clients run harmless jobs of a model; lend the list of all, and at the end wait for the last."""
    handles: list[JobHandle[str]] = []
    is_over = asyncio.Event()

    async def client() -> None:
        while not is_over.is_set():
            handle = await manager.submit(one, "none")
            handles.append(handle)
            with contextlib.suppress(JobFailed):  # the store is asked at the end
                await handle

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    try:
        yield handles
    finally:
        is_over.set()
        _, late = await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
        for task in late:
            task.cancel()


def ending_of(job: Job) -> str:
    """Return how a job has ended, in one line to compare."""
    code = None if job.error is None else job.error.code
    return f"{job.status} {code}, attempt {job.attempt}, {job.crashes} crashes"
