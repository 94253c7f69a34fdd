"""Who may ask for what, how often, and how much of it may wait."""

# --8<-- [start:app]
import hmac
import os

from starlette.requests import Request

from asyncinfer import Job, JobManager, Limits, model
from asyncinfer.adapters.http import Action, Principal, RateLimit, create_app


@model
async def caption(image: bytes) -> str:
    return f"{len(image)} bytes"


async def authenticate(request: Request) -> Principal | None:
    """Return who asks: of a session, a signed token, or as here a header that only the gateway can set."""
    secret = os.environ.get("GATEWAY_SECRET", "").encode()
    if not secret or not hmac.compare_digest(request.headers.get("X-Gateway-Secret", "").encode(), secret):
        return None
    user = request.headers.get("X-User", "")
    return Principal(owner=user) if 1 <= len(user) <= 255 else None


async def authorize(principal: Principal, action: Action, job: Job | None) -> bool:
    """Let a kiosk submit and look, and nothing else; let others do everything with what they own."""
    if principal.owner.startswith("kiosk"):
        return action in ("submit", "read", "result")
    return action != "metrics" or principal.owner == "prometheus"


manager = JobManager("sqlite:///jobs.db", models=[caption], limits=Limits(owner_queued_jobs=2))
app = create_app(
    manager,
    public_base_url="https://api.example.com",
    authenticate=authenticate,
    authorize=authorize,
    rate_limit=RateLimit(requests=5, per_seconds=3600),
)
# --8<-- [end:app]


async def main() -> None:
    """Call it as its gateway would, without a network."""
    os.environ["GATEWAY_SECRET"] = "known to the gateway"
    async with (
        manager,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client,
    ):
        ann, bob, kiosk = (
            {"X-Gateway-Secret": "known to the gateway", "X-User": user} for user in ("ann", "bob", "kiosk-3")
        )
        later = {"model": "caption", "input": {"image": "AAAA"}, "not_before": "2999-01-01T00:00:00Z"}

        def show(what: str, answer: httpx.Response) -> None:
            slug = answer.json().get("type", "").rpartition(":")[2]
            print(f"{what}: {answer.status_code} {slug}".rstrip())

        first = await client.post("/v1/jobs", json=later, headers=ann)
        path = f"/v1/jobs/{first.json()['id']}"
        show("ann submits", first)
        show("bob looks at it", await client.get(path, headers=bob))
        show("somebody says ann", await client.get(path, headers={"X-User": "ann"}))

        kiosks = await client.post("/v1/jobs", json=later, headers=kiosk)
        show("a kiosk submits", kiosks)
        show("a kiosk cancels", await client.post(f"/v1/jobs/{kiosks.json()['id']}/cancel", headers=kiosk))

        show("ann submits a second", await client.post("/v1/jobs", json=later, headers=ann))
        show("ann submits a third", await client.post("/v1/jobs", json=later, headers=ann))
        show("ann looks", await client.get(path, headers=ann))
        fifth = await client.get(path, headers=ann)
        show("ann asks a fifth time", fifth)
        print("left:", fifth.headers["RateLimit"].partition(";t=")[0])
        show("ann asks a sixth time", await client.get(path, headers=ann))


if __name__ == "__main__":
    import asyncio

    import httpx

    asyncio.run(main())
