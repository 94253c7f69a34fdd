"""F6 over HTTP: the store is away, in four ways: every route says so in time, nothing hangs, and all comes back.

The store answers late and not at all as a backend with its deadlines does; what is tested is all that stands before it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal, get_args

import pytest
from msgspec import Struct

from asyncinfer import JobManager, Limits, Model, _engine, model
from asyncinfer.abc import JobFilter, JobKey
from asyncinfer.adapters.http import create_app
from asyncinfer.adapters.http._operations import OPERATIONS
from asyncinfer.errors import OutcomeUnknown, StoreUnavailable
from asyncinfer_memory import MemoryStore
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.late_store import LateStore
from tests.faults.harness.raw_http import Answer, Connection, fetch
from tests.faults.harness.serving import Site, served
from tests.faults.harness.waiting import came_true

pytestmark = pytest.mark.fault

Outage = Literal["refused", "frozen", "reset", "slow"]
OUTAGE_SECONDS = {"pr": 1.2, "rel": 30.0}
CALL_TIMEOUT = 1.0
INSERT_TIMEOUT = 1.0
GRACE = 0.5
"""Seconds past its deadline within which a route must have answered."""
LIVE_WITHIN = 0.9
RECOVERY = 5.0
PATIENCE = 15.0
SUBMITS_PER_SECOND = 100
RUNNING = 20
LEASE = 1.0
"""Seconds. A claim whose answer is lost comes back when its lease has ended."""
LATE_SECONDS = 3_600.0
INPUT = b'{"model": "takes_a_moment", "input": {"number": 1}}'
HELD = b'{"model": "is_held", "input": {}}'
NEED_NO_STORE = frozenset(
    {"GET /v1/models", "GET /v1/models/{name}", "GET /openapi.json", "GET /", "GET /metrics", "GET /healthz"}
)
NEED_A_SENDER = {"webhooks", "deliveries", ".well-known"}
"""Parts of paths that are not served without a sender of webhooks."""
NOT_READY = "GET /readyz"


class Figures(Struct, frozen=True, kw_only=True):
    """What callers were answered while the store was away, and when it was back."""

    routes: int
    routes_untyped: Sequence[str]
    """Those that need the store and answered something else than 503 `store-unavailable` with Retry-After."""
    routes_down: int
    """That do not need the store, and answered something else than 200."""
    live_seconds: float
    """Until `/healthz` said that the process lives: an orchestrator that gets no answer within a second kills it."""
    slowest_route: str
    slowest_route_seconds: float
    slowest_submit_seconds: float
    accepted: int
    refused: int
    submits_untyped: int
    lost: int
    """Accepted, and not succeeded in the end."""
    readers_hung: int
    """Of the readers that were there when the store went away: neither ended nor told of the ending."""
    recovery_seconds: float
    """From the return of the store to the next accepted submit."""


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "a refusal says what it is and when to come back": not (figures.routes_untyped or figures.submits_untyped),
        "what needs no store is served": figures.routes_down == 0,
        "liveness does not wait for the store": figures.live_seconds < LIVE_WITHIN,
        "a route answers by the deadline": figures.slowest_route_seconds <= INSERT_TIMEOUT + GRACE,
        "a submit answers by the deadline": figures.slowest_submit_seconds <= INSERT_TIMEOUT + GRACE,
        "what was accepted ends": figures.lost == 0,
        "no reader hangs": figures.readers_hung == 0,
        "the service is back within five seconds": figures.recovery_seconds <= RECOVERY,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@pytest.mark.parametrize("outage", get_args(Outage))
async def test_a_store_that_is_away_is_told_in_time(outage: Outage, size: Size) -> None:
    figures = await scenario(outage, OUTAGE_SECONDS[size])
    publish(f"F6 http {outage}", size, figures)
    assert verdict(figures) == []
    assert figures.refused


async def test_canary_an_insert_that_is_repeated_past_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_engine, "INSERT_AGAIN_SECONDS", 60.0)
    assert "a submit answers by the deadline" in verdict(await scenario("frozen", 1.0))


@model(concurrency=RUNNING)
async def takes_a_moment(number: int) -> int:
    await asyncio.sleep(0.05)  # so that some run whenever the store goes away
    return number


@model(queue="held")
async def is_held() -> None:
    pass


async def scenario(outage: Outage, seconds: float) -> Figures:
    """Take the store away under load for so long, ask every route meanwhile, and give it back."""
    store = LateStore(MemoryStore(), call_timeout=CALL_TIMEOUT, insert_timeout=INSERT_TIMEOUT)
    async with service(store) as (manager, site):
        await manager.pause("held")
        waited, woken = [await _submit(site, HELD) for _ in range(2)]
        readers = [await _reader(site, job, rest) for job in (waited, woken) for rest in ("/events", "?wait=1")]
        load = Load(site)
        async with load.running():
            ended = await _ended(site)
            _take_away(store, outage)
            went_away_at = time.monotonic()
            answers = await asyncio.gather(*(_ask(site, method, path, ended) for method, path in _routes()))
            manager._core.engine.waiters.changed(JobKey("", woken))  # as a change does that is made in an outage
            await asyncio.sleep(went_away_at + seconds - time.monotonic())  # how long the outage lasts
            returned_at = time.monotonic()
            store.heal()
            await manager.resume("held")
            hung = sum(await asyncio.gather(*(_hangs(reader) for reader in readers)))
            await came_true(lambda: load.accepted_at > returned_at, PATIENCE)
        lost = await _lost(manager, load.accepted)
    told = {f"{method} {path}": answer for (method, path), answer in zip(_routes(), answers, strict=True)}
    return Figures(
        routes=len(told),
        routes_untyped=[
            f"{name} {told[name].status}"
            for name in told
            if name not in NEED_NO_STORE and not _is_typed(name, told[name])
        ],
        routes_down=sum(told[name].status != 200 for name in NEED_NO_STORE),
        live_seconds=round(told["GET /healthz"].seconds, 3),
        slowest_route=max(told, key=lambda name: told[name].seconds),
        slowest_route_seconds=round(max(answer.seconds for answer in answers), 3),
        slowest_submit_seconds=round(load.slowest, 3),
        accepted=len(load.accepted),
        refused=load.refused,
        submits_untyped=load.untyped,
        lost=lost,
        readers_hung=hung,
        recovery_seconds=round(load.accepted_after(returned_at), 3),
    )


@asynccontextmanager
async def service(store: LateStore) -> AsyncGenerator[tuple[JobManager, Site]]:
    models: list[Model[..., Any, Any]] = [takes_a_moment, is_held]
    limits = Limits(queued_jobs=1_000_000)
    async with store, JobManager(store, models=models, limits=limits, lease=LEASE) as manager:
        app = create_app(manager, public_base_url="http://loopback", allow_anonymous=True)
        async with served(app) as site:
            yield manager, site


def _take_away(store: LateStore, outage: Outage) -> None:
    if outage == "refused":
        store.fail("*", StoreUnavailable, times=None)
    elif outage == "frozen":
        store.hang("*", times=None)
    elif outage == "reset":
        store.fail("*", OutcomeUnknown, when="after", times=None)
    else:
        store.delay("*", LATE_SECONDS, when="after", times=None)


class Load:
    """Submits at a steady rate, whatever comes of it, and keeps in mind what it was told."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.accepted: list[str] = []
        self._accepted_at: list[float] = []
        self.refused = self.untyped = 0
        self.slowest = 0.0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Submit until the end of the block; wait for the last answers."""
        async with asyncio.TaskGroup() as submits:
            steady = submits.create_task(self._submit_steadily(submits))
            try:
                yield
            finally:
                steady.cancel()

    @property
    def accepted_at(self) -> float:
        return max(self._accepted_at, default=0.0)

    def accepted_after(self, instant: float) -> float:
        """Return how many seconds after an instant the first submit was accepted."""
        return min((at - instant for at in self._accepted_at if at > instant), default=PATIENCE)

    async def _submit_steadily(self, submits: asyncio.TaskGroup) -> None:
        while True:
            submits.create_task(self._submit())
            await asyncio.sleep(1 / SUBMITS_PER_SECOND)  # the rate

    async def _submit(self) -> None:
        answer = await fetch(self._site.port, "POST", "/v1/jobs", body=INPUT)
        self.slowest = max(self.slowest, answer.seconds)
        if answer.status in (200, 202):
            self.accepted.append(answer.json()["id"])
            self._accepted_at.append(time.monotonic())
        else:
            self.refused += 1
            self.untyped += not _says_store_unavailable(answer)


def _routes() -> Sequence[tuple[str, str]]:
    served_here = [path for path in OPERATIONS if not NEED_A_SENDER & set(path.split("/"))]
    return [(method, path) for path in served_here for method in OPERATIONS[path]]


async def _ask(site: Site, method: str, path: str, job: str) -> Answer:
    """Ask one route, about a job that has ended where it is about one."""
    if method == "PUT":
        job = "an-id-of-our-own"
    name = "takes_a_moment" if "models" in path else "default"
    body = INPUT if f"{method} {path}" in ("POST /v1/jobs", "PUT /v1/jobs/{id}") else None
    return await fetch(site.port, method, path.format(id=job, name=name), body=body)


def _is_typed(name: str, answer: Answer) -> bool:
    if name == NOT_READY:
        return answer.status == 503 and answer.retry_after is not None
    return _says_store_unavailable(answer)


def _says_store_unavailable(answer: Answer) -> bool:
    return answer.status == 503 and answer.problem == "store-unavailable" and answer.retry_after is not None


async def _lost(manager: JobManager, accepted: Sequence[str]) -> int:
    """Count the accepted jobs that do not succeed in time."""

    async def count() -> int:
        return len(set(accepted) - {job.id async for job in manager.find_all(JobFilter(status=("succeeded",)))})

    async def is_none() -> bool:
        return await count() == 0

    await came_true(is_none, PATIENCE)
    return await count()


async def _submit(site: Site, body: bytes) -> str:
    job: str = (await fetch(site.port, "POST", "/v1/jobs", body=body)).json()["id"]
    return job


async def _ended(site: Site) -> str:
    job = await _submit(site, INPUT)
    assert (await fetch(site.port, "GET", f"/v1/jobs/{job}?wait=10")).json()["status"] == "succeeded"
    return job


async def _reader(site: Site, job: str, rest: str) -> Connection:
    connection = await Connection.open(site.port)
    await connection.send("GET", f"/v1/jobs/{job}{rest}", headers={"accept": "text/event-stream"})
    return connection


async def _hangs(reader: Connection) -> bool:
    """Tell whether a reader is not answered whole."""
    try:
        async with asyncio.timeout(PATIENCE):
            return (await reader.answer()).status not in (200, 503)
    except TimeoutError:
        return True
    finally:
        await reader.cut()
