"""A FastAPI application that receives webhooks, and believes those that are signed."""

# --8<-- [start:app]
import json
import os

from fastapi import FastAPI, HTTPException, Request

from asyncinfer.adapters.webhook import SignatureInvalid, verify

app = FastAPI()
seen: set[str] = set()  # in a real one a table with a unique column, written with what the event changes


@app.post("/hook", status_code=204)
async def hook(request: Request) -> None:
    body = await request.body()  # as it arrived: JSON that is parsed and written again has another signature
    try:
        verify(body, request.headers, os.environ["WEBHOOK_SECRETS"].split())
    except SignatureInvalid as invalid:
        raise HTTPException(401, str(invalid)) from invalid
    message_id = request.headers["webhook-id"]
    if message_id in seen:  # sent again, perhaps because our answer was lost
        return
    seen.add(message_id)
    event = json.loads(body)
    print("received:", event["type"], event["data"]["id"])


# --8<-- [end:app]


async def main() -> None:
    """Call it as the sender would, without a network."""
    secret = Secret.new()
    os.environ["WEBHOOK_SECRETS"] = secret.reveal()
    body = json.dumps({"type": "job.succeeded", "data": {"id": "photo-7"}}).encode()
    now = int(time.time())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:

        async def post(what: str, sent: bytes, headers: dict[str, str]) -> None:
            answer = await client.post("/hook", content=sent, headers=headers)
            print(f"{what}:", answer.status_code)

        signed = await signed_headers("msg_1", now, body, [HmacSigner(secret)])
        await post("signed", body, signed)
        await post("the same again", body, signed)
        await post("changed on the way", body.replace(b"7", b"8"), signed)
        await post("not signed", body, {})
        old = await signed_headers("msg_2", now - 3_600, body, [HmacSigner(secret)])
        await post("an hour old", body, old)


if __name__ == "__main__":
    import asyncio
    import time

    import httpx

    from asyncinfer.adapters.webhook import HmacSigner, Secret, signed_headers

    asyncio.run(main())
