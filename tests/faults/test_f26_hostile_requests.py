"""F26: whatever bytes come over HTTP, the answer comes in time and whole, and is never that of an accident."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from msgspec import Struct
from starlette.applications import Starlette
from starlette.types import ASGIApp

from asyncinfer import JobManager, model
from asyncinfer.abc import Endpoint
from asyncinfer.adapters.http import Bounds, _strict_json, create_app
from asyncinfer.adapters.webhook import Guard, Secret, WebhookSender
from asyncinfer.adapters.webhook._response import Response
from tests.adapters.http.serving import served
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.hostile_requests import ENDPOINT, JOB, collection, connections, requests
from tests.faults.harness.raw_asgi import Answer, Request, ask

pytestmark = pytest.mark.fault

EXAMPLES = {"pr": 1_000, "rel": 100_000}
"""On each store."""
SLOW_SECONDS = 1.0
HANGS_SECONDS = 10.0


@model
async def echo(text: str) -> str:
    return text


@model(queue="live")
async def lives() -> None:
    await asyncio.Event().wait()


class Figures(Struct, frozen=True):
    """What came of the requests."""

    seed: int
    requests: int
    unhandled: int
    """Exceptions that left the application."""
    answers_500: int
    slower_than_a_second: int
    """And as slow when they were asked again."""
    spoiled_answers: int
    """No whole answer, a wrong length, a header that splits it, an error that is no problem document."""
    logged_errors: int
    statuses: Mapping[str, int]


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "no exception leaves the application": figures.unhandled == 0,
        "no request is answered with 500": figures.answers_500 == 0,
        "no answer takes over a second": figures.slower_than_a_second == 0,
        "every answer is whole": figures.spoiled_answers == 0,
        "nothing is logged as an error": figures.logged_errors == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_hostile_requests_are_answered_in_time_and_never_by_accident(size: Size, store: str, tmp_path: Path) -> None:
    hunt = Hunt("memory://" if store == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    chosen = random.SystemRandom().randrange(2**32)
    figures = hunt.run(collection(), EXAMPLES[size], chosen)
    publish(f"F26 {store}", size, figures)
    assert (verdict(figures), hunt.found) == ([], [])
    # Most of what was sent is wrong, and some of it is not.
    assert {"200", "202", "400", "404", "405", "415", "422", "431"} <= figures.statuses.keys()


class Connections(Struct, frozen=True):
    """What came of connections to a real server over which anything was sent."""

    connections: int
    answers_500: int
    not_ended: int
    """Connections that were still open long after their sender had sent all of it."""
    logged_errors: int


async def test_hostile_connections_end_and_leave_the_server_as_it_was(size: Size) -> None:
    watch = _Errors()
    for name in ("asyncinfer", "uvicorn", "asyncio"):
        logging.getLogger(name).addHandler(watch)
    try:
        async with _service("memory://") as app, served(app) as url:
            answers = [await _converse(url, data) for data in connections()]
            last = await _converse(url, b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    finally:
        for name in ("asyncinfer", "uvicorn", "asyncio"):
            logging.getLogger(name).removeHandler(watch)
    figures = Connections(
        connections=len(answers),
        answers_500=sum(b"HTTP/1.1 500" in (answer or b"") for answer in answers),
        not_ended=answers.count(None),
        logged_errors=len(watch.told),
    )
    publish("F26 connections", size, figures)
    assert (figures.answers_500, figures.not_ended, watch.told) == (0, 0, [])
    assert (last or b"").startswith(b"HTTP/1.1 200")


async def _converse(url: str, data: bytes) -> bytes | None:
    """Return what comes back until the server closes the connection; None when it does not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        async with asyncio.timeout(HANGS_SECONDS):
            with contextlib.suppress(ConnectionError):
                writer.write(data)
                writer.write_eof()
                return await reader.read()
            return b""
    except TimeoutError:
        return None
    finally:
        writer.close()


def test_canary_without_the_limit_of_depth_requests_are_answered_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    def at_any_depth(data: bytes) -> None:
        """Let it pass."""

    monkeypatch.setattr(_strict_json, "check_json_depth", at_any_depth)
    assert verdict(Hunt("memory://").run(collection(), 0, 0)) != []


class Hunt:
    """Asks a service and counts what must not be."""

    def __init__(self, store: str) -> None:
        self.found: list[str] = []
        self._store = store
        self._counts: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()

    def run(self, fixed: Iterable[Request], examples: int, chosen: int) -> Figures:
        watch = _Errors()
        logging.getLogger("asyncinfer").addHandler(watch)
        try:
            with asyncio.Runner() as runner:
                self._run(runner, fixed, examples, chosen)
        finally:
            logging.getLogger("asyncinfer").removeHandler(watch)
        self.found += watch.told[:20]
        return Figures(
            seed=chosen,
            requests=self._statuses.total(),
            unhandled=self._counts["unhandled"],
            answers_500=self._statuses["500"],
            slower_than_a_second=self._counts["slow"],
            spoiled_answers=self._counts["spoiled"],
            logged_errors=len(watch.told),
            statuses=dict(sorted(self._statuses.items())),
        )

    def _run(self, runner: asyncio.Runner, fixed: Iterable[Request], examples: int, chosen: int) -> None:
        stack = AsyncExitStack()
        app = runner.run(stack.enter_async_context(_service(self._store)))
        try:
            for request in fixed:
                runner.run(self._ask(app, request))
            if examples:
                self._ask_more(runner, app, examples, chosen)
        finally:
            runner.run(stack.aclose())

    def _ask_more(self, runner: asyncio.Runner, app: ASGIApp, examples: int, chosen: int) -> None:
        @seed(chosen)
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
        )
        @given(requests())
        def ask_one(request: Request) -> None:
            runner.run(self._ask(app, request))

        ask_one()

    async def _ask(self, app: ASGIApp, request: Request) -> None:
        answer, seconds = await self._timed(app, request)
        if seconds > SLOW_SECONDS:
            # A busy machine may stand still for once.
            answer, seconds = await self._timed(app, request)
            if seconds > SLOW_SECONDS:
                self._note("slow", request, f"{seconds:.1f} s")
        self._statuses[str(answer.status)] += 1
        if answer.defect:
            self._note("spoiled", request, answer.defect)
        if answer.status >= 500 and answer.status != 503:
            self._note("500", request, str(answer.status))

    async def _timed(self, app: ASGIApp, request: Request) -> tuple[Answer, float]:
        began = time.monotonic()
        try:
            async with asyncio.timeout(HANGS_SECONDS):
                answer = await ask(app, request)
        except Exception as error:  # noqa: BLE001  it is counted
            self._note("unhandled", request, repr(error))
            answer = Answer(0)
        return answer, time.monotonic() - began

    def _note(self, what: str, request: Request, why: str) -> None:
        self._counts[what] += 1
        if len(self.found) < 20:
            self.found.append(f"{what}: {why[:300]}: {request!r:.1000}")


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.told.append(record.getMessage())


@asynccontextmanager
async def _service(store: str) -> AsyncGenerator[Starlette]:
    """A service whose bounds are short, with one job that has ended, one that runs, and a registered endpoint."""
    bounds = Bounds(body_seconds=0.02, wait_seconds=0.05, keep_alive_seconds=0.01)
    secret = Secret.new()
    endpoint = Endpoint(
        id=ENDPOINT.decode(),
        owner="",
        target="https://hooks.example.com/",
        events=("job.succeeded",),
        secrets=(secret.reveal(),),
    )
    async with (
        JobManager(store, models=[echo, lives], drain_grace=0, cancel_grace=0) as manager,
        WebhookSender(manager, secret=secret, guard=Guard(resolver=_Resolver()), transport=_Receiver()) as sender,
    ):
        await manager.outbox.put_endpoint(endpoint)
        await manager.submit(echo.options(job_id=JOB.decode(), labels={"a": "b"}, webhook=endpoint.id), "hello")
        await manager.submit(lives.options(job_id="job_live"))
        yield create_app(
            manager, public_base_url="https://api.example.com", allow_anonymous=True, bounds=bounds, webhooks=sender
        )


class _Resolver:
    """Finds every host at a public address."""

    async def resolve(self, host: str) -> Sequence[IPv4Address]:
        return [IPv4Address("93.184.216.34")]


class _Receiver:
    """Takes whatever is sent."""

    async def post(self, target: str, headers: Mapping[str, str], body: bytes) -> Response:
        return Response(kind="delivered", status=200)

    async def options(self, target: str, headers: Mapping[str, str]) -> Response:
        return Response(kind="delivered", status=200, allowed_origin="*")

    async def close(self) -> None:
        """Keep nothing."""
