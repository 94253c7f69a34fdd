"""Where a manager lives: an async fixture (every other test here), a FastAPI lifespan, uvloop, a plain asyncio.run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import uvloop
from fastapi import FastAPI

from asyncinfer import JobManager
from tests.manager.models import double, echo


async def use(store_url: str) -> tuple[str, int]:
    async with JobManager(store_url, models=[echo, double]) as manager:
        return await (await manager.submit(echo, "hi")), await (await manager.submit(double, 2))


def test_it_runs_under_plain_asyncio(store_url: str) -> None:
    assert asyncio.run(use(store_url)) == ("hi", 4)


def test_it_runs_under_uvloop(store_url: str) -> None:
    assert uvloop.run(use(store_url)) == ("hi", 4)


async def test_it_runs_in_a_fastapi_lifespan(store_url: str) -> None:
    manager = JobManager(store_url, models=[echo])

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with manager:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/echo")
    async def submit(text: str) -> str:
        return (await manager.submit(echo, text)).id

    @app.get("/jobs/{job_id}")
    async def status(job_id: str) -> str:
        return await manager.handle(job_id, echo)

    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client,
    ):
        job_id = (await client.post("/echo", params={"text": "hi"})).json()
        assert (await client.get(f"/jobs/{job_id}")).json() == "hi"


def test_a_task_that_is_canceled_inside_the_manager_closes_it(store_url: str) -> None:
    async def serve(opened: asyncio.Event) -> None:
        async with JobManager(store_url, models=[echo]):
            opened.set()
            await asyncio.Event().wait()

    async def main() -> int:
        opened = asyncio.Event()
        task = asyncio.create_task(serve(opened))
        await opened.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
