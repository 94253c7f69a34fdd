"""Change a job: cancel it, run it again, forget it."""

from __future__ import annotations

from asyncinfer.adapters.http._call import Answer, Call
from asyncinfer.adapters.http._look import found, handle_of, job_answer
from asyncinfer.adapters.http._problems import problem
from asyncinfer.errors import UnknownJob

RUNNING_SECONDS = 5
"""After which a job that still runs may be deleted or retried, perhaps."""


async def cancel(call: Call) -> Answer:
    """Cancel a waiting job, ask a running one to stop; an ended one stays as it is."""
    call.query()
    handle = handle_of(call)
    await call.may_with_job("cancel", handle.id)
    asked = await handle.cancel()
    return await job_answer(call, await handle.job(), 202 if asked == "requested" else 200)


async def retry(call: Call) -> Answer:
    """Run an ended job again, as a new one."""
    call.query()
    handle, job = await found(call)
    await call.may("retry", job)
    if not job.is_terminal:
        raise problem("job-not-terminal", f"it is {job.status}", job_id=job.id, retry_after=RUNNING_SECONDS)
    again = await call.owned.retry(handle.id)
    return await job_answer(call, await again.job(), 202, is_new=True)


async def delete(call: Call) -> Answer:
    """Forget an ended job, cancel and forget a waiting one."""
    call.query()
    handle = handle_of(call)
    await call.may_with_job("delete", handle.id)
    try:
        answered = await call.owned.delete(handle.id)
    except UnknownJob:
        await handle.job()  # says whether it has ever been
        raise
    if answered == "running":
        raise problem("job-not-terminal", "it is running", job_id=handle.id, retry_after=RUNNING_SECONDS)
    return Answer(204)
