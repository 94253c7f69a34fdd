"""A web process that imports no model: it submits by name, and workers elsewhere run the jobs."""

# --8<-- [start:app]
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException, Request

from asyncinfer import InvalidInput, JobManager
from asyncinfer.errors import Refused, UnknownModel

manager = JobManager("sqlite:///jobs.db", run_jobs=False)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with manager:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/jobs/{model_name}", status_code=202)
async def submit(model_name: str, request: Request) -> dict[str, str]:
    try:
        submission = manager.model(model_name).bind_json(await request.body())
        (job,) = await manager.submit_many([submission])
    except UnknownModel as unknown:  # no worker has published that name in this store
        raise HTTPException(404, str(unknown)) from unknown
    except InvalidInput as invalid:
        raise HTTPException(422, str(invalid)) from invalid
    except Refused as refused:
        raise HTTPException(503, str(refused), {"Retry-After": f"{refused.retry_after:.0f}"}) from refused
    return {"id": job.id}


# --8<-- [end:app]


async def main() -> None:
    """Call it as a client would, without a network, while a worker runs on the same file."""
    from asyncinfer import JobFailed, model

    @model
    async def count_words(text: str) -> int:
        return len(text.split())

    async with (
        JobManager("sqlite:///jobs.db", models=[count_words]),  # in real life: another process
        lifespan(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client,
    ):
        accepted = await client.post("/jobs/count_words", json={"text": "three short words"})
        print("result:", await manager.handle(accepted.json()["id"]).result(timeout=30))

        print("unknown model:", (await client.post("/jobs/nope", json={})).status_code)

        # The schema is with the worker: here a wrong input is accepted, and the job fails.
        wrong = await client.post("/jobs/count_words", json={"text": 3})
        try:
            await manager.handle(wrong.json()["id"]).result(timeout=30)
        except JobFailed as failed:
            print("wrong input:", failed.code, "-", failed.error.message)


if __name__ == "__main__":
    import asyncio

    import httpx

    asyncio.run(main())
