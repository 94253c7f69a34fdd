"""Webhooks of a service: jobs name who is told, owners register receivers, over HTTP."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI
from local_server import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from asyncinfer import JobManager, model
from asyncinfer.adapters.http import create_app
from asyncinfer.adapters.webhook import Guard, Secret, WebhookSender


@model
async def shout(text: str) -> str:
    return text.upper()


def application(secret: str, guard: Guard) -> FastAPI:
    # --8<-- [start:app]
    manager = JobManager("sqlite:///jobs.db", models=[shout])
    sender = WebhookSender(manager, secret=secret, guard=guard, public_base_url="https://api.example.com/inference")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        async with manager, sender:  # create_app opens neither here
            yield

    app = FastAPI(lifespan=lifespan)
    service = create_app(
        manager, webhooks=sender, public_base_url="https://api.example.com/inference", allow_anonymous=True
    )
    app.mount("/inference", service)
    # --8<-- [end:app]
    return app


async def call(service: httpx.AsyncClient, hook: str) -> None:
    registered = await service.post("/v1/webhooks", json={"url": hook, "events": ["job.succeeded"]})
    endpoint = registered.json()
    print("register:", registered.status_code, "secret:", endpoint["secret"][:6] + "…")
    print("test:", (await service.post(f"/v1/webhooks/{endpoint['id']}/test")).json()["status"])

    ask = {"model": "shout", "input": {"text": "hello"}, "webhook": {"endpoint": endpoint["id"]}}
    job = (await service.post("/v1/jobs", json=ask, headers={"Prefer": "wait=30"})).json()
    print("job:", job["status"], job["output"])
    while job["webhook"]["status"] in {"none_yet", "pending"}:
        await asyncio.sleep(0.05)
        job = (await service.get(f"/v1/jobs/{job['id']}")).json()
    print("webhook:", job["webhook"]["status"])
    (delivery,) = (await service.get(f"/v1/jobs/{job['id']}/deliveries")).json()["data"]
    print("delivery:", delivery["event"], "-", delivery["last"]["kind"], delivery["last"]["status"])

    ask["webhook"] = {"url": "https://10.0.0.1/hook"}
    refused = (await service.post("/v1/jobs", json=ask)).json()
    print("refused:", refused["type"], "-", refused["detail"])


async def hear(request: Request) -> Response:
    await request.body()  # a real one verifies it
    return Response(status_code=204)


async def main() -> None:
    with serving(Starlette(routes=[Route("/hook", hear, methods=["POST"])])) as receiver:
        port = int(receiver.rpartition(":")[2])
        app = application(Secret.new().reveal(), Guard(allowed_networks=["127.0.0.0/8"], allow_http=True, ports=[port]))
        with serving(app) as server:
            async with httpx.AsyncClient(base_url=f"{server}/inference") as service:
                await call(service, f"{receiver}/hook")


asyncio.run(main())
