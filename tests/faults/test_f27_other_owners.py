"""F27: over HTTP an owner neither reads nor moves another's jobs, and cannot tell them from jobs that are not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct
from starlette.types import ASGIApp

from asyncinfer import Job, JobHandle, JobManager, model, wire
from asyncinfer.abc import Delivery, DeliveryFilter
from asyncinfer.adapters.http import BearerTokens, Bounds, _deliveries, _look, create_app
from asyncinfer.adapters.http._call import Call
from asyncinfer.adapters.http._operations import OPERATIONS
from asyncinfer.adapters.http._problems import problem
from asyncinfer.adapters.webhook import Guard, Secret, WebhookSender
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.errors import UnknownJob
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.raw_asgi import Answer, Headers, Request, ask
from tests.faults.harness.waiting import until

pytestmark = pytest.mark.fault

OWNERS = ("ann", "bob")
UNKNOWN = "job_00000000000000000000000000"
"""As long as a real one."""
KEY = "a-key-of-both"


@model
async def echo(text: str) -> str:
    return text


@model
async def fails(text: str) -> None:
    raise ValueError(text)


@model(queue="held")
async def waits(text: str) -> None:
    await asyncio.Event().wait()


class Figures(Struct, frozen=True):
    """What owners learned of each other's jobs, and did to them."""

    asked: int
    told_apart: int
    """Answers to another owner's job that are not those to an unknown one: in status, headers or body."""
    cross_reads: int
    """Answers that hold anything of another owner's."""
    cross_writes: int
    """Jobs, endpoints and deliveries that are not as they were."""


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "another owner's job is answered like an unknown one": figures.told_apart == 0,
        "no answer holds anything of another owner's": figures.cross_reads == 0,
        "no owner moves another's jobs": figures.cross_writes == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_owners_see_and_move_only_their_own_jobs(size: Size, store: str, tmp_path: Path) -> None:
    trial = Trial()
    figures = await trial.run("memory://" if store == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    publish(f"F27 {store}", size, figures)
    assert (verdict(figures), trial.found) == ([], [])


async def test_canary_an_owner_that_is_checked_after_the_job_was_fetched_tells_them_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fetched_first(call: Call) -> tuple[Any, Job]:
        job_id = call.path["id"]
        for owner in OWNERS:
            handle = call.service.manager.scoped(owner).handle(job_id)
            try:
                job = await handle.job()
            except UnknownJob:
                continue
            if job.owner != call.owned.owner:
                raise problem("forbidden")
            return handle, job
        raise problem("job-not-found")

    monkeypatch.setattr(_look, "found", fetched_first)
    assert verdict(await Trial().run("memory://")) != []


async def test_canary_a_delivery_that_is_looked_up_without_its_owner_is_read_and_sent_by_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def anybodys(call: Call) -> Delivery:
        found = await call.service.manager.outbox.deliveries(None, DeliveryFilter())
        for one in found:
            if one.id == call.path["id"]:
                return one
        raise problem("not-found", "there is no such delivery")

    monkeypatch.setattr(_deliveries, "_one", anybodys)
    figures = await Trial().run("memory://")
    assert (figures.told_apart > 0, figures.cross_reads > 0) == (True, True)


class Jobs(Struct, frozen=True):
    """What one owner has."""

    owner: str
    ids: Mapping[str, str]
    """By what became of them."""
    endpoint: str
    delivery: str

    @property
    def marker(self) -> bytes:
        """What only this owner may read: it stands in every input, label, metadata, output, error and URL."""
        return f"marker-of-{self.owner}".encode()

    @property
    def names(self) -> Sequence[str]:
        """Whatever a path can name."""
        return [*self.ids.values(), self.endpoint, self.delivery]


class Trial:
    """Two owners, each of whom tries everything with the other's jobs."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._asked = 0
        self._reads = 0
        self._apart = 0

    async def run(self, store: str) -> Figures:
        async with _service(store) as (sender, app):
            manager = sender.manager
            both = [await _jobs_of(sender, owner) for owner in OWNERS]
            writes = 0
            for own, other in (both, both[::-1]):
                await self._see_own(app, own, other)
                before = await _records(manager, other)
                await self._with_ids(app, own, other)
                await self._without_ids(app, own, other)
                after = await _records(manager, other)
                writes += sum(old != new for old, new in zip(before, after, strict=True))
            for own, other in (both, both[::-1]):
                await self._choose_ids(app, own, other)
        return Figures(self._asked, self._apart, self._reads, writes)

    async def _see_own(self, app: ASGIApp, own: Jobs, other: Jobs) -> None:
        """What is asked for below is told to its owner, else nothing would be proven."""
        for name, job_id in own.ids.items():
            answer = await self._ask(app, own, other, "GET", f"/v1/jobs/{job_id}", query=b"include=input")
            assert answer.status == (410 if name == "gone" else 200)
            assert (own.marker in answer.body) == (name != "gone")
        for path in (
            f"/v1/webhooks/{own.endpoint}",
            f"/v1/deliveries/{own.delivery}",
            "/v1/deliveries",
            "/v1/webhooks",
        ):
            answer = await self._ask(app, own, other, "GET", path)
            assert answer.status == 200
            assert own.endpoint.encode() in answer.body

    async def _with_ids(self, app: ASGIApp, own: Jobs, other: Jobs) -> None:
        """Ask every route for the other's jobs, and compare with an unknown one."""
        for path, methods in OPERATIONS.items():
            for method, operation in methods.items():
                if "{id}" not in path or method == "PUT":
                    continue
                body = _BODIES.get(operation.takes, b"")
                for query, headers in _VARIANTS:
                    for name in other.names:
                        for shape in _SHAPES:
                            await self._compare(app, own, other, method, path, query, headers, body, name, shape)

    async def _compare(
        self,
        app: ASGIApp,
        own: Jobs,
        other: Jobs,
        method: str,
        path: str,
        query: bytes,
        headers: Headers,
        body: bytes,
        name: str,
        shape: str,
    ) -> None:
        theirs, unknown = [
            await self._ask(
                app,
                own,
                other,
                method,
                path.format(id=shape.format(id=one, rest=one[1:], owner=other.owner)),
                query=query,
                headers=headers,
                body=body,
            )
            for one in (name, _unknown(name))
        ]
        if theirs != unknown:
            self._apart += 1
            self.found.append(f"{own.owner}: {method} {path} {shape} {query!r}: {theirs!r:.300} or {unknown!r:.300}")

    async def _choose_ids(self, app: ASGIApp, own: Jobs, other: Jobs) -> None:
        """An id that the other has is free for whoever else chooses it."""
        body = json.dumps({"model": "echo", "input": {"text": own.marker.decode()}}).encode()
        for job_id in other.ids.values():
            made = await self._ask(app, own, other, "PUT", f"/v1/jobs/{job_id}", body=body)
            if made.status != 202 or made.header(b"idempotent-replayed") or made.json()["id"] != job_id:
                self._apart += 1
                self.found.append(f"{own.owner}: PUT {job_id}: {made!r:.300}")

    async def _without_ids(self, app: ASGIApp, own: Jobs, other: Jobs) -> None:
        """Ask the routes that are about many jobs, with whatever of the other's may be named."""
        cursor = (await self._ask(app, other, own, "GET", "/v1/jobs", query=b"limit=1")).json()["next_cursor"]
        mark = b"label.mark=" + other.marker
        for query in (b"limit=200", b"status=running", b"queue=held", mark, f"after={cursor}".encode()):
            await self._ask(app, own, other, "GET", "/v1/jobs", query=query)
        for named in (f"job={other.ids['done']}", f"endpoint={other.endpoint}", "after=z", "status=delivered"):
            await self._ask(app, own, other, "GET", "/v1/deliveries", query=named.encode())
        for path, methods in OPERATIONS.items():
            for method in methods:
                if "{id}" not in path and path != "/v1/jobs":
                    for name in ("echo", "held", "default"):
                        await self._ask(app, own, other, method, path.format(name=name))
        body = {"model": "echo", "input": {"text": own.marker.decode()}, "dedup": {"ttl_seconds": 60}}
        for key in (KEY, f"key-of-{other.owner}"):
            headers = [(b"idempotency-key", key.encode())]
            await self._ask(app, own, other, "POST", "/v1/jobs", headers=headers, body=json.dumps(body).encode())
        answers = [
            await self._ask(app, own, other, "POST", "/v1/jobs", body=json.dumps({**body, "webhook": webhook}).encode())
            for webhook in ({"endpoint": other.endpoint}, {"endpoint": _unknown(other.endpoint)})
        ]
        if answers[0] != answers[1]:
            self._apart += 1
            self.found.append(f"{own.owner}: a submit to {other.endpoint}: {answers!r:.600}")

    async def _ask(
        self,
        app: ASGIApp,
        own: Jobs,
        other: Jobs,
        method: str,
        path: str,
        *,
        query: bytes = b"",
        headers: Headers = (),
        body: bytes = b"",
    ) -> Answer:
        token = (b"authorization", b"Bearer " + own.owner.encode())
        all_headers = [token, (b"content-type", b"application/json"), *headers]
        request = Request(method=method, path=path.encode(), query=query, headers=all_headers, body=[body])
        answer = await ask(app, request)
        self._asked += 1
        told = answer.body + b"".join(value for _, value in answer.headers)
        is_named = [one for one in other.names if one.encode() in told and method != "PUT"]
        if other.marker in told or is_named:
            self._reads += 1
            self.found.append(f"{own.owner} reads at {method} {path}: {told!r:.300}")
        return answer


_VARIANTS: Sequence[tuple[bytes, Headers]] = [
    (b"", ()),
    (b"wait=0.01&include=input,attempts", ()),
    (b"", [(b"accept", b"text/event-stream"), (b"if-none-match", b'W/"1", W/"2", W/"3"')]),
]
_SHAPES = [
    "{id}", "%6a{rest}", "{id}%20", "{id}%00", "{id}%0A", "{id}.", "{id}%2F", "{id}%3Bx", "%EF%BB%BF{id}",
    "{owner}%3A{id}", "{owner}%2F{id}", "{owner}%00{id}", "..%2F{owner}%2F{id}", "{id}'--", "*",
]  # fmt: skip


_BODIES: Mapping[object, bytes] = {
    wire.ChangeWebhook: b'{"enabled": false, "description": "changed"}',
    wire.Recover: b'{"since": "2020-01-01T00:00:00Z"}',
}


def _unknown(name: str) -> str:
    """Return an id as long as this one, and of its kind, that nobody has."""
    return UNKNOWN[: len(name)] if name.startswith("job_") else f"{name.partition('_')[0]}_".ljust(len(name), "0")


async def _jobs_of(sender: WebhookSender, owner: str) -> Jobs:
    """Submit a job for each thing that may become of one, each with the owner's marker in all it has."""
    mark = f"marker-of-{owner}"
    scoped = sender.manager.scoped(owner)
    endpoint = (await sender.endpoints.register(owner, f"https://93.184.216.34/{mark}", description=mark)).id
    options: dict[str, Any] = {"labels": {"mark": mark}, "metadata": mark}
    told: dict[str, Any] = {**options, "webhook": endpoint}
    done = await scoped.submit(echo.options(**told, idempotency_key=f"key-of-{owner}", dedup=True), mark)
    failed = await scoped.submit(fails.options(**options), mark)
    chosen = await scoped.submit(echo.options(**options, job_id=f"job_chosen_by_{owner}"), mark)
    runs = await scoped.submit(waits.options(**options), mark)
    gone = await scoped.submit(echo.options(**options), mark)
    for handle in (done, failed, chosen, gone):
        await handle.wait(30)
    await until(lambda: _is_running(runs), 30, what="the job runs")
    await scoped.delete(gone.id)
    queued = await scoped.submit(waits.options(**options, delay=3_600), mark)
    everything = {"done": done, "failed": failed, "chosen": chosen, "runs": runs, "gone": gone, "queued": queued}
    await until(lambda: _is_delivered(sender, owner), 30, what="the webhook is delivered")
    (delivery,) = await sender.manager.outbox.deliveries(owner, DeliveryFilter())
    return Jobs(owner, {name: handle.id for name, handle in everything.items()}, endpoint, delivery.id)


async def _is_delivered(sender: WebhookSender, owner: str) -> bool:
    return bool(await sender.manager.outbox.deliveries(owner, DeliveryFilter(status="delivered")))


async def _is_running(handle: JobHandle[None]) -> bool:
    return await handle.status() == "running"


async def _records(manager: JobManager, jobs: Jobs) -> list[object]:
    """Return what the owner has as it stands, but for what time alone changes."""
    kept = [job_id for name, job_id in jobs.ids.items() if name != "gone"]
    records = [await manager.scoped(jobs.owner).get(job_id) for job_id in kept]
    endpoints = await manager.outbox.endpoints(jobs.owner)
    deliveries = await manager.outbox.deliveries(jobs.owner, DeliveryFilter())
    logs = [await manager.outbox.log(jobs.owner, one.id) for one in deliveries]
    return [*(msgspec.structs.replace(job, renewals=0) for job in records), endpoints, deliveries, logs]


class _Receiver:
    """Takes whatever is sent."""

    async def post(self, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        return Response(kind="delivered", status=200)

    async def options(self, target: str, headers: Mapping[str, str]) -> Response:
        return Response(kind="delivered", status=200, allowed_origin="*")

    async def close(self) -> None:
        """Keep nothing."""


@asynccontextmanager
async def _service(store: str) -> AsyncGenerator[tuple[WebhookSender, ASGIApp]]:
    tokens = BearerTokens({BearerTokens.hash(owner): owner for owner in OWNERS})
    bounds = Bounds(wait_seconds=0.05)
    async with (
        JobManager(store, models=[echo, fails, waits], drain_grace=0, cancel_grace=0) as manager,
        WebhookSender(manager, secret=Secret.new(), guard=Guard(), transport=_Receiver()) as sender,
    ):
        app = create_app(
            manager,
            public_base_url="https://api.example.com",
            authenticate=tokens,
            bounds=bounds,
            webhooks=sender,
        )
        yield sender, app
