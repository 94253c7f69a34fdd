"""Tell a receiver of a job's ending: a sender beside the manager, and a receiver on this machine that verifies."""

import asyncio
import json

from local_server import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from asyncinfer import JobKey, JobManager, model
from asyncinfer.adapters.webhook import Guard, Secret, SignatureInvalid, WebhookSender, verify


@model
async def shout(text: str) -> str:
    return text.upper()


secret = Secret.new().reveal()  # make it once, with `asyncinfer webhooks secret`; both sides keep it


# --8<-- [start:sender]
async def run(url: str, guard: Guard) -> None:
    async with (
        JobManager("sqlite:///jobs.db", models=[shout]) as manager,
        WebhookSender(manager, secret=secret, guard=guard),
    ):
        job = await manager.submit(shout.options(webhook=url), "hello")
        # --8<-- [end:sender]
        print("delivery:", await ended_delivery(manager, JobKey("", job.id)))
        print("result:", await job)


async def ended_delivery(manager: JobManager, job: JobKey) -> str:
    while True:
        deliveries = await manager.outbox.of_job(job)
        if deliveries and deliveries[0].status != "pending":
            return f"{deliveries[0].status}, attempts: {deliveries[0].attempts}"
        await asyncio.sleep(0.05)  # a poll: nobody is told of the end of a delivery


async def hook(request: Request) -> Response:
    body = await request.body()
    try:
        verify(body, request.headers, secret)
    except SignatureInvalid as invalid:
        return Response(str(invalid), 401)
    event = json.loads(body)
    print("received:", event["type"], "-", event["data"]["output"])
    return Response(status_code=204)


async def main() -> None:
    with serving(Starlette(routes=[Route("/hook", hook, methods=["POST"])])) as server:
        port = int(server.rpartition(":")[2])
        # For this trial only: without a guard of your own, nothing but public https addresses is called.
        await run(f"{server}/hook", Guard(allowed_networks=["127.0.0.0/8"], allow_http=True, ports=[port]))


asyncio.run(main())
