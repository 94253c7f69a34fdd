"""The same receiver with the package `standardwebhooks`: nothing of asyncinfer is needed to receive."""

# --8<-- [start:app]
import os
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from standardwebhooks import Webhook, WebhookVerificationError

app = FastAPI()


def verified(body: bytes, headers: dict[str, str]) -> Any:  # Any: JSON; None if nobody we know has signed it
    for secret in os.environ["WEBHOOK_SECRETS"].split():  # it takes one secret: while yours is rotated, try both
        try:
            return Webhook(secret).verify(body, headers)
        except (WebhookVerificationError, ValueError):  # ValueError: a header or a body that is broken
            continue
    return None


@app.post("/hook", status_code=204)
async def hook(request: Request) -> None:
    event = verified(await request.body(), dict(request.headers))
    if event is None:
        raise HTTPException(401)
    print("received:", event["type"], event["data"]["id"])


# --8<-- [end:app]


async def main() -> None:
    """Call it as the sender would, without a network, in the middle of a rotation."""
    current, previous = Secret.new(), Secret.new()
    body = json.dumps({"type": "job.succeeded", "data": {"id": "photo-7"}}).encode()
    signed = await signed_headers("msg_1", int(time.time()), body, [HmacSigner(current), HmacSigner(previous)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        for what, secrets in {
            "with the old secret": [previous],
            "with both": [current, previous],
            "with the new one": [current],
            "with another": [Secret.new()],
        }.items():
            os.environ["WEBHOOK_SECRETS"] = " ".join(secret.reveal() for secret in secrets)
            answer = await client.post("/hook", content=body, headers=signed)
            print(f"{what}:", answer.status_code)
        broken = signed | {"webhook-signature": "broken"}
        print("broken:", (await client.post("/hook", content=body, headers=broken)).status_code)


if __name__ == "__main__":
    import asyncio
    import json
    import time

    import httpx

    from asyncinfer.adapters.webhook import HmacSigner, Secret, signed_headers

    asyncio.run(main())
