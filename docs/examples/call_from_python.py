"""Call a service from Python: without asyncio, and with it."""

import asyncio

from http_app import app
from local_server import serving

from asyncinfer.client import AsyncClient, Client
from asyncinfer.errors import InvalidInput, JobFailed

TOKEN = "token-of-ann"


# --8<-- [start:sync]
def describe(url: str, photo: bytes) -> str:
    with Client(url, token=TOKEN) as client:
        job = client.submit("caption", {"image": photo, "lang": "fr"}, labels={"album": "7"})
        print("submitted:", job.id)  # keep it: client.job(id) is the same job, also tomorrow, also elsewhere
        return job.result(timeout=60, type=str)  # typed; JobFailed, JobCanceled, TimeoutError
        # --8<-- [end:sync]


# --8<-- [start:async]
async def listen(url: str) -> None:
    async with AsyncClient(url, token=TOKEN) as client:
        job = await client.submit("tell", {"story": "once upon a time"}, time_limit=60, priority=1)
        async for word in job.stream(type=str):
            print("streamed:", word)
        print("awaited:", await job)

        try:
            await client.submit("caption", {"image": 7})
        except InvalidInput as invalid:
            print("refused:", invalid.path, "-", invalid)

        late = await client.submit("tell", {"story": "too long " * 9}, time_limit=0.3)
        try:
            await late
        except JobFailed as failed:
            print("failed:", failed.code)

        print("of album 7:", [job.status async for job in client.jobs(labels={"album": "7"})])
        # --8<-- [end:async]


if __name__ == "__main__":
    with serving(app) as server:
        print("described:", describe(f"{server}/inference", b"a picture"))
        asyncio.run(listen(f"{server}/inference"))
