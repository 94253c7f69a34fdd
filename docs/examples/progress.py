"""Report progress in a model and follow it from outside."""

import asyncio

from asyncinfer import JobManager, ProgressEvent, StatusEvent, current_job, model

PAGES = 4


@model
def read_pages(pages: int) -> int:
    ctx = current_job()
    words = 0
    for page in range(pages):
        words += len(f"the text of page {page}".split())
        ctx.progress(current=page + 1, total=pages, message=f"page {page + 1}")
    return words


async def main() -> None:
    async with JobManager("sqlite:///jobs.db", models=[read_pages]) as manager:
        job = await manager.submit(read_pages, PAGES)
        latest = ""
        async for event in job.events():
            match event:
                case StatusEvent():
                    print("status:", event.status)
                case ProgressEvent():  # an earlier report may have been replaced unseen
                    latest = event.progress.message
                case _:
                    pass
        print("last report:", latest)
        print("words:", await job)


asyncio.run(main())
