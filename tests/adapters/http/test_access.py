"""Who asks, what they may do, and how often."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.requests import Request

from asyncinfer import Job, JobManager, Limits
from asyncinfer.adapters.http import Action, BearerTokens, Principal, RateLimit, create_app
from asyncinfer.errors import InvalidOption
from tests.adapters.http.conftest import connected
from tests.adapters.http.models import ALL, echo
from tests.adapters.http.steps import BASE, request_of, slug_of, submitted

TOKENS = BearerTokens({BearerTokens.hash("token-of-ann"): "ann", BearerTokens.hash("tökén of bob"): "bob"})


@pytest.fixture
async def guarded(manager: JobManager) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(create_app(manager, public_base_url=BASE, authenticate=TOKENS)) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_the_app_refuses_to_start_without_knowing_who_asks(manager: JobManager) -> None:
    with pytest.raises(InvalidOption, match="allow_anonymous=True written out"):
        create_app(manager, public_base_url=BASE)
    with pytest.raises(InvalidOption, match="expected False beside authenticate"):
        create_app(manager, public_base_url=BASE, authenticate=TOKENS, allow_anonymous=True)


@pytest.mark.parametrize(
    "url", ["", "/inference", "api.example.com", "ftp://x.example", "https://u:p@x.example", "https://x.example?a=b"]
)
async def test_the_public_url_is_a_plain_one(manager: JobManager, url: str) -> None:
    with pytest.raises(InvalidOption, match="public_base_url"):
        create_app(manager, public_base_url=url, allow_anonymous=True)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong"),
        bearer(""),
        {"Authorization": "Bearer"},
        {"Authorization": "Basic token-of-ann"},
        {"Authorization": "token-of-ann"},
        {"Authorization": "Bearer token-of-ann, Bearer token-of-ann"},
    ],
)
async def test_whoever_is_not_known_is_refused(guarded: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answered = await guarded.get("/v1/jobs", headers=headers)
    assert (answered.status_code, slug_of(answered)) == (401, "unauthorized")
    assert answered.headers["www-authenticate"] == "Bearer"


async def test_a_token_names_its_owner(guarded: httpx.AsyncClient, manager: JobManager) -> None:
    body = request_of("echo", {"text": "hi"})
    anns = (await guarded.post("/v1/jobs", json=body, headers=bearer("token-of-ann"))).json()
    token = "Bearer tökén of bob".encode()
    bobs = (await guarded.post("/v1/jobs", json=body, headers={b"authorization": token})).json()
    assert [job.id for job in (await manager.scoped("ann").find()).jobs] == [anns["id"]]
    assert [job.id for job in (await manager.scoped("bob").find()).jobs] == [bobs["id"]]


async def test_tokens_are_kept_as_hashes_only() -> None:
    assert BearerTokens.hash("s3cret") == hashlib.sha256(b"s3cret").hexdigest()
    assert "token-of-ann" not in repr(TOKENS) + repr(vars(TOKENS))
    for wrong in ("token-of-ann", "00" * 31, "zz" * 32):
        with pytest.raises(InvalidOption, match="64 hexadecimal digits") as caught:
            BearerTokens({wrong: "ann"})
        assert wrong not in str(caught.value)


@pytest.mark.parametrize("owner", ["", "x" * 256])
async def test_a_principal_has_an_owner_that_a_store_can_keep(owner: str) -> None:
    with pytest.raises(InvalidOption, match=r"Principal\.owner"):
        Principal(owner)


async def test_what_is_not_authorized_is_forbidden_and_changes_nothing(manager: JobManager) -> None:
    asked: list[tuple[str, Action, str | None]] = []

    async def authorize(principal: Principal, action: Action, job: Job | None) -> bool:
        asked.append((principal.owner, action, job.id if job is not None else None))
        return action == "submit"

    app = create_app(manager, public_base_url=BASE, authenticate=TOKENS, authorize=authorize)
    async with connected(app, headers=bearer("token-of-ann")) as client:
        await manager.pause("default")
        job = await submitted(client)
        before = await manager.scoped("ann").get(job["id"])
        url = f"/v1/jobs/{job['id']}"
        refused = [
            await client.get(url), await client.get(f"{url}/result"), await client.get(f"{url}/events"),
            await client.get(f"{url}/events", headers={"Accept": "text/event-stream"}),
            await client.post(f"{url}/cancel"), await client.post(f"{url}/retry"), await client.delete(url),
            await client.get("/v1/jobs"), await client.get("/v1/models"), await client.get("/v1/models/echo"),
            await client.get("/v1/queues/default"), await client.post("/v1/queues/default/purge"),
        ]  # fmt: skip
    assert [(one.status_code, slug_of(one)) for one in refused] == [(403, "forbidden")] * len(refused)
    assert await manager.scoped("ann").get(job["id"]) == before
    about_it = ("read", "result", "events", "events", "cancel", "retry", "delete")
    about_none = ("list", "models", "models", "queue", "purge")
    assert asked == [("ann", "submit", None)] + [("ann", action, job["id"]) for action in about_it] + [
        ("ann", action, None) for action in about_none
    ]


async def test_whoever_asks_for_another_owners_job_is_not_even_judged(manager: JobManager) -> None:
    async def authorize(principal: Principal, action: Action, job: Job | None) -> bool:
        raise AssertionError("there is nothing to judge")

    job = await manager.scoped("bob").submit(echo, "hi")
    app = create_app(manager, public_base_url=BASE, authenticate=TOKENS, authorize=authorize)
    async with connected(app, headers=bearer("token-of-ann")) as client:
        answered = await client.get(f"/v1/jobs/{job.id}")
    assert slug_of(answered) == "job-not-found"


async def test_a_failing_authenticate_is_an_internal_error_whose_text_is_told_to_nobody(
    manager: JobManager, caplog: pytest.LogCaptureFixture
) -> None:
    async def authenticate(request: Request) -> Principal | None:
        raise ConnectionError(f"the key server refused {request.headers['authorization']}")

    async with connected(create_app(manager, public_base_url=BASE, authenticate=authenticate)) as client:
        with caplog.at_level(logging.INFO):
            answered = await client.get("/v1/jobs/job_1", headers=bearer("s3cret"))
    assert (answered.status_code, slug_of(answered)) == (500, "internal-error")
    assert "s3cret" not in answered.text + caplog.text
    assert "a request to /v1/jobs/{id} failed with ConnectionError" in caplog.text
    assert "in authenticate" in caplog.text


async def test_an_authenticate_that_answers_something_else_lets_nobody_in(
    manager: JobManager, caplog: pytest.LogCaptureFixture
) -> None:
    async def authenticate(request: Request) -> Principal | None:
        return "ann"  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  what is tried

    async with connected(create_app(manager, public_base_url=BASE, authenticate=authenticate)) as client:
        answered = await client.get("/v1/jobs")
    assert (answered.status_code, slug_of(answered)) == (500, "internal-error")


async def test_requests_beyond_the_rate_are_refused_until_it_allows_them(manager: JobManager) -> None:
    limit = RateLimit(requests=2, per_seconds=0.2)
    app = create_app(manager, public_base_url=BASE, authenticate=TOKENS, rate_limit=limit)
    async with connected(app, headers=bearer("token-of-ann")) as client:
        allowed = [await client.get("/v1/models") for _ in range(2)]
        refused = await client.get("/v1/models")
        another = await client.get("/v1/models", headers={b"authorization": "Bearer tökén of bob".encode()})
        public = await client.get("/healthz")
        await asyncio.sleep(0.11)  # what one request takes to be allowed again
        again = await client.get("/v1/models")
    assert [one.status_code for one in (*allowed, refused, another, public, again)] == [200, 200, 429, 200, 200, 200]
    assert slug_of(refused) == "rate-limited"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["ratelimit"] == '"burst";r=0;t=0'
    assert allowed[0].headers["ratelimit-policy"] == '"burst";q=2;w=0'
    assert allowed[0].headers["ratelimit"] == '"burst";r=1;t=0'


async def test_every_answer_tells_the_rate_once(manager: JobManager) -> None:
    limit = RateLimit(requests=100, per_seconds=100)
    app = create_app(manager, public_base_url=BASE, allow_anonymous=True, rate_limit=limit)
    async with connected(app) as client:
        accepted = await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}), headers={"Prefer": "wait=5"})
        url = f"/v1/jobs/{accepted.json()['id']}"
        answers = [
            accepted, await client.post(f"{url}/retry"), await client.get("/v1/jobs/job_1"),
            await client.post("/v1/jobs", content=b"{"), await client.patch("/v1/jobs"),
            await client.get(f"{url}/events", headers={"Accept": "text/event-stream"}),
        ]  # fmt: skip
    # A method that is not allowed is refused before anybody is asked for a name.
    told = [one.headers.get_list("ratelimit") for one in answers if one.status_code != 405]
    assert told == [[f'"burst";r={left};t={100 - left}'] for left in (99, 98, 97, 96, 95)]
    assert all(one.headers["ratelimit-policy"] == '"burst";q=100;w=100' for one in answers if one.status_code != 405)


async def test_an_owners_quota_is_the_callers_own() -> None:
    limits = Limits(owner_queued_jobs=1)
    async with JobManager("memory://", models=ALL, limits=limits, run_jobs=False) as own:
        app = create_app(own, public_base_url=BASE, authenticate=TOKENS)
        async with connected(app, headers=bearer("token-of-ann")) as client:
            await submitted(client)
            refused = await client.post("/v1/jobs", json=request_of("echo", {"text": "hi"}))
            another = await client.post(
                "/v1/jobs",
                json=request_of("echo", {"text": "hi"}),
                headers={b"authorization": "Bearer tökén of bob".encode()},
            )
    assert (refused.status_code, slug_of(refused)) == (429, "quota-exceeded")
    assert refused.json()["limit"] == "owner_queued_jobs"
    assert 1 <= int(refused.headers["retry-after"]) <= 72
    assert another.status_code == 202
