"""A receiver of CloudEvents: it allows the sender by their handshake, and is told of a job as one."""

import asyncio

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat
from local_server import serving
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from asyncinfer import JobKey, JobManager, model
from asyncinfer.adapters.webhook import Guard, SignatureInvalid, WebhookSender, verify


@model
async def shout(text: str) -> str:
    return text.upper()


secrets: list[str] = []


# --8<-- [start:receiver]
SENDERS = {"api.example.com"}


async def hook(request: Request) -> Response:
    if request.method == "OPTIONS":
        origin = request.headers.get("WebHook-Request-Origin", "")
        allowed = {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"} if origin in SENDERS else {}
        return Response(status_code=200, headers={"Allow": "POST", **allowed})
    body = await request.body()
    try:
        verify(body, request.headers, secrets)
    except SignatureInvalid as invalid:
        return Response(str(invalid), 401)
    event = from_http_event(HTTPMessage(dict(request.headers), body), JSONFormat())
    data = event.get_data()
    assert isinstance(data, dict), "the sender sends JSON objects"
    print(event.get_type(), "from", event.get_source(), "says", data["output"])
    return Response(status_code=204)


# --8<-- [end:receiver]


# --8<-- [start:owner]
async def run(url: str, guard: Guard) -> None:
    async with (
        JobManager("sqlite:///jobs.db", models=[shout]) as manager,
        WebhookSender(manager, guard=guard, public_base_url="https://api.example.com/inference") as sender,
    ):
        endpoint = await sender.endpoints.register("ann", url, proof="cloudevents", format="cloudevents-structured")
        secrets.append(endpoint.secrets[0])  # shown to the receiver once
        endpoint = await sender.endpoints.prove("ann", endpoint.id)
        print("enabled:", endpoint.is_enabled)

        job = await manager.scoped("ann").submit(shout.options(webhook=endpoint.id), "hello")
        # --8<-- [end:owner]
        await until_told(manager, job.id)


async def until_told(manager: JobManager, job_id: str) -> None:
    while True:
        deliveries = await manager.outbox.of_job(JobKey("ann", job_id))
        if any(one.status == "delivered" for one in deliveries):
            return
        await asyncio.sleep(0.05)  # a poll: nobody is told of the end of a delivery


async def main() -> None:
    with serving(Starlette(routes=[Route("/hook", hook, methods=["POST", "OPTIONS"])])) as server:
        port = int(server.rpartition(":")[2])
        await run(f"{server}/hook", Guard(allowed_networks=["127.0.0.0/8"], allow_http=True, ports=[port]))


asyncio.run(main())
