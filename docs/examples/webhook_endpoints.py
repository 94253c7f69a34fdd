"""A registered receiver: it proves that it wants webhooks, is told of a job, and gets a new secret."""

import asyncio
import json

from local_server import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asyncinfer import JobKey, JobManager, model
from asyncinfer.adapters.webhook import Guard, SignatureInvalid, WebhookSender, verify


@model
async def shout(text: str) -> str:
    return text.upper()


secrets: list[str] = []  # the receiver's: the current one, and while it is rotated the one before


# --8<-- [start:receiver]
async def hook(request: Request) -> Response:
    body = await request.body()
    try:
        verify(body, request.headers, secrets)
    except SignatureInvalid as invalid:
        return Response(str(invalid), 401)
    event = json.loads(body)
    signatures = request.headers["webhook-signature"].count("v1,")
    print("received:", event["type"], "signatures:", signatures)
    if event["type"] == "webhook.verification":
        return JSONResponse({"challenge": event["data"]["challenge"]})
    return Response(status_code=204)


# --8<-- [end:receiver]


# --8<-- [start:owner]
async def run(url: str, guard: Guard) -> None:
    async with (
        JobManager("sqlite:///jobs.db", models=[shout]) as manager,
        WebhookSender(manager, guard=guard) as sender,
    ):
        endpoint = await sender.endpoints.register("ann", url, proof="challenge")
        secrets.append(endpoint.secrets[0])  # shown to the receiver once
        endpoint = await sender.endpoints.prove("ann", endpoint.id)
        print("enabled:", endpoint.is_enabled)

        job = await manager.scoped("ann").submit(shout.options(webhook=endpoint.id), "hello")
        # --8<-- [end:owner]
        await until_told(manager, job.id)
        # --8<-- [start:rotate]
        rotated = await sender.endpoints.rotate("ann", endpoint.id)
        print("test:", (await sender.endpoints.test("ann", endpoint.id)).status, "with the old secret")
        secrets.insert(0, rotated.secrets[0])
        print("test:", (await sender.endpoints.test("ann", endpoint.id)).status, "with both")
        del secrets[1]
        print("test:", (await sender.endpoints.test("ann", endpoint.id)).status, "with the new one")
        # --8<-- [end:rotate]


async def until_told(manager: JobManager, job_id: str) -> None:
    while True:
        deliveries = await manager.outbox.of_job(JobKey("ann", job_id))
        if any(one.status == "delivered" for one in deliveries):
            return
        await asyncio.sleep(0.05)  # a poll: nobody is told of the end of a delivery


async def main() -> None:
    with serving(Starlette(routes=[Route("/hook", hook, methods=["POST"])])) as server:
        port = int(server.rpartition(":")[2])
        await run(f"{server}/hook", Guard(allowed_networks=["127.0.0.0/8"], allow_http=True, ports=[port]))


asyncio.run(main())
