"""The HTTP contract, mounted in a FastAPI application."""

# --8<-- [start:app]
import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from asyncinfer import JobManager, model
from asyncinfer.adapters.http import BearerTokens, create_app


@model(time_limit=1800)
async def caption(image: bytes, *, lang: str = "en") -> str:
    await asyncio.sleep(1)  # a model takes its time
    return f"{len(image)} bytes, described in {lang}"


@model
async def tell(story: str) -> AsyncIterator[str]:
    for word in story.split():
        await asyncio.sleep(0.1)
        yield word


manager = JobManager("sqlite:///jobs.db", models=[caption, tell])
tokens = BearerTokens(
    {  # of real tokens keep the hashes only: BearerTokens.hash, or `asyncinfer token`
        BearerTokens.hash("token-of-ann"): "ann",
        BearerTokens.hash("token-of-bob"): "bob",
    }
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with manager:  # a mounted application's own lifespan is not run: this one opens the manager
        yield


app = FastAPI(lifespan=lifespan)
app.mount(
    "/inference",
    create_app(manager, public_base_url="https://api.example.com/inference", authenticate=tokens),
)
# --8<-- [end:app]


async def main() -> None:
    """Call it as a client would, without a network."""
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app/inference") as client,
    ):
        ann, bob = ({"Authorization": f"Bearer token-of-{name}"} for name in ("ann", "bob"))
        once = ann | {"Idempotency-Key": "photo-7"}
        photo = {"model": "caption", "input": {"image": base64.b64encode(b"a picture").decode(), "lang": "fr"}}

        accepted = await client.post("/v1/jobs", json=photo, headers=once)
        job_id = accepted.json()["id"]
        print("submit:", accepted.status_code, accepted.headers["Location"])

        shown = await client.get(f"/v1/jobs/{job_id}?wait=30", headers=ann)
        print("wait:", shown.status_code, shown.json()["status"], "-", shown.json()["output"])

        again = await client.post("/v1/jobs", json=photo, headers=once)
        print("submit again:", again.status_code, "- same job:", again.json()["id"] == job_id)

        wrong = await client.post("/v1/jobs", json={"model": "caption", "input": {"image": 7}}, headers=ann)
        print("wrong input:", wrong.status_code, wrong.json()["errors"][0]["pointer"], "-", wrong.json()["detail"])

        print("to another caller:", (await client.get(f"/v1/jobs/{job_id}", headers=bob)).json()["type"])
        print("without a token:", (await client.get(f"/v1/jobs/{job_id}")).json()["type"])


if __name__ == "__main__":
    import base64

    import httpx

    asyncio.run(main())
