"""A FastAPI application that runs its own jobs in the background."""

# --8<-- [start:app]
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request

from asyncinfer import JobManager, model
from asyncinfer.errors import JobExpired, Refused, UnknownJob


@model(time_limit=1800)
def caption(image: bytes) -> str:
    return f"a picture of {len(image)} bytes"


manager = JobManager("sqlite:///jobs.db", models=[caption])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with manager:  # opens the store and starts the work; closing drains it
        yield


app = FastAPI(lifespan=lifespan)
User = Annotated[str, Header(alias="X-User")]  # your authentication goes here


@app.post("/captions", status_code=202)
async def submit(request: Request, user: User) -> dict[str, str]:
    image = await request.body()
    try:
        job = await manager.scoped(user).submit(caption, image)
    except Refused as refused:  # full, over quota, draining: nothing was stored
        raise HTTPException(503, str(refused), {"Retry-After": f"{refused.retry_after:.0f}"}) from refused
    return {"id": job.id}


@app.get("/captions/{job_id}")
async def show(job_id: str, user: User) -> dict[str, str | None]:
    owned = manager.scoped(user)  # another user's job is an unknown job
    try:
        job = await owned.get(job_id)
        text = await owned.handle(job_id, caption) if job.status == "succeeded" else None
    except UnknownJob as unknown:
        raise HTTPException(404, "no such job") from unknown
    except JobExpired as expired:
        raise HTTPException(410, "its result is no longer kept") from expired
    return {"status": job.status, "caption": text, "error": job.error.message if job.error else None}


@app.delete("/captions/{job_id}")
async def cancel(job_id: str, user: User) -> dict[str, str]:
    try:
        return {"answer": await manager.scoped(user).cancel(job_id)}
    except UnknownJob as unknown:
        raise HTTPException(404, "no such job") from unknown


# --8<-- [end:app]


async def main() -> None:
    """Call it as a client would, without a network."""
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client,
    ):
        ann, bob = {"X-User": "ann"}, {"X-User": "bob"}
        accepted = await client.post("/captions", content=b"a picture", headers=ann)
        path = f"/captions/{accepted.json()['id']}"
        print("submit:", accepted.status_code)

        await manager.scoped("ann").handle(accepted.json()["id"]).result(timeout=30)
        print("show:", (await client.get(path, headers=ann)).json())
        print("to another user:", (await client.get(path, headers=bob)).status_code)
        print("cancel:", (await client.delete(path, headers=ann)).json())


if __name__ == "__main__":
    import asyncio

    import httpx

    asyncio.run(main())
