"""F28: what users and operators keep to themselves stands in no log line, no repr and no error that HTTP answers."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import pytest
from msgspec import Struct
from starlette.requests import Request as HTTPRequest

from asyncinfer import Job, JobManager, Limits, Model, model, wire
from asyncinfer.abc import JobKey
from asyncinfer.adapters.http import Action, BearerTokens, Bounds, Principal, _problems, create_app
from asyncinfer.errors import AsyncinferError, StoreUnavailable
from asyncinfer.testing import FaultyStore
from asyncinfer_memory import MemoryStore
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.raw_asgi import Answer, Request, ask

pytestmark = pytest.mark.fault

MARK = "s3cret"
"""Stands in every secret, behind it where it was put."""


def secret(place: str) -> str:
    return f"{MARK}-{place}"


@model
async def echo(text: str) -> str:
    return text


@model
async def paint(color: Literal["red", "green"], sizes: list[int]) -> str:
    return color


@model
async def fails(text: str) -> None:
    raise ValueError(f"cannot read {text}")


@model
def fails_in_a_thread(text: str) -> None:
    raise ValueError(f"cannot read {text}")


class Figures(Struct, frozen=True):
    """Where secrets were found."""

    requests: int
    problems: int
    """Answers that are errors, of all that were read."""
    hits_in_problems: int
    log_lines: int
    hits_in_logs: int
    reprs: int
    hits_in_reprs: int


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "no error shows a secret": figures.hits_in_problems == 0,
        "no log line of INFO and above shows a secret": figures.hits_in_logs == 0,
        "no repr shows a secret": figures.hits_in_reprs == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


async def test_no_log_repr_or_error_shows_a_secret(size: Size, caplog: pytest.LogCaptureFixture) -> None:
    trial = Trial()
    with caplog.at_level(logging.INFO):
        figures = await trial.run(caplog)
    publish("F28", size, figures)
    assert (verdict(figures), trial.found) == ([], [])
    assert figures.problems > 20
    assert figures.log_lines > 0


async def test_canary_an_error_that_shows_the_exception_shows_the_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def frank(error: AsyncinferError) -> _problems.ProblemRaised:
        return _problems.problem("store-unavailable", str(error))

    monkeypatch.setattr("asyncinfer.adapters.http._app.problem_of", frank)
    assert verdict(await Trial().run(caplog)) != []


class Trial:
    """Puts a secret wherever one can be put."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._answers: list[Answer] = []
        self._reprs: list[str] = []

    async def run(self, caplog: pytest.LogCaptureFixture) -> Figures:
        async with MemoryStore() as memory:
            await self._ask_for_everything(FaultyStore(memory))
        problems = [answer for answer in self._answers if answer.status >= 400]
        lines = [
            f"{record.name}: {caplog.handler.format(record)}"
            for record in caplog.records
            if record.levelno >= logging.INFO
        ]
        told = [answer.body.decode() + repr(answer.headers) for answer in problems]
        return Figures(
            requests=len(self._answers),
            problems=len(problems),
            hits_in_problems=self._hits("a problem", told),
            log_lines=len(lines),
            hits_in_logs=self._hits("a log line", lines),
            reprs=len(self._reprs),
            hits_in_reprs=self._hits("a repr", self._reprs),
        )

    def _hits(self, where: str, texts: list[str]) -> int:
        hits = [text for text in texts if MARK in text]
        self.found += [f"{where}: {text:.600}" for text in hits]
        return len(hits)

    async def _ask_for_everything(self, store: FaultyStore) -> None:
        limits = Limits(metadata_bytes=2_000, owner_queued_jobs=1_000)
        models: list[Model[..., Any, Any]] = [echo, paint, fails, fails_in_a_thread]
        async with JobManager(store, models=models, limits=limits, drain_grace=0) as manager:
            for authenticate in (TOKENS, _authenticate_fails):
                for authorize in (None, _authorize_fails):
                    app = create_app(
                        manager,
                        public_base_url="https://api.example.com",
                        authenticate=authenticate,
                        authorize=authorize,
                        bounds=Bounds(wait_seconds=1),
                    )
                    for request in _requests():
                        self._answers.append(await ask(app, request))
                    self._reprs.append(repr(app) + repr(app.routes))
            app = create_app(manager, public_base_url="https://api.example.com", authenticate=TOKENS)
            store.fail("get", StoreUnavailable(f"postgres://user:{secret('password')}@db is away"))
            self._answers.append(await ask(app, _request("GET", "/v1/jobs/job_1")))
            await self._show(manager, store)

    async def _show(self, manager: JobManager, store: FaultyStore) -> None:
        """Take the repr of whatever of the library a program may log."""
        scoped = manager.scoped("ann")
        submission = echo.options(**_OPTIONS).bind(secret("input"))
        shown: list[object] = [manager, scoped, TOKENS, Principal("ann"), store, echo, submission, submission.model]
        jobs = (await scoped.find(limit=200)).jobs
        keys = [JobKey("ann", job.id) for job in jobs]
        shown += [
            *jobs,
            *await store.get(keys),
            *await store.submissions(keys),
            *manager.models(),
            *await manager.workers(),
        ]
        for job in jobs:
            handle = scoped.handle(job.id)
            shown += [handle, *await scoped.attempts(job.id)]
        shown.append(
            msgspec.json.decode(msgspec.json.encode(_submit("echo", {"text": secret("input")})), type=wire.Submit)
        )
        for answer in self._answers:
            if answer.status in (200, 202) and answer.body.startswith(b'{"object":"job"'):
                shown.append(msgspec.json.decode(answer.body, type=wire.Job))
        try:
            await scoped.submit(echo.options(idempotency_key=secret("key")), secret("other-input"))
        except AsyncinferError as error:
            shown.append(error)
        self._reprs += [repr(one) for one in shown]


async def _authenticate_fails(request: HTTPRequest) -> Principal | None:
    raise ConnectionError(f"the key server refused {request.headers['authorization']}")


async def _authorize_fails(principal: Principal, action: Action, job: Job | None) -> bool:
    raise PermissionError(f"{secret('policy')} says nothing of {principal} and {job}")


TOKENS = BearerTokens({BearerTokens.hash(secret("token")): "ann"})
_OPTIONS: Any = {"idempotency_key": secret("key-of-options"), "metadata": {"password": secret("metadata")}}
_HEADERS: Mapping[str, str] = {
    "authorization": f"Bearer {secret('token')}",
    "content-type": "application/json",
    "cookie": f"session={secret('cookie')}",
    "x-api-key": secret("header"),
    "prefer": f"wait=1, {secret('preference')}",
    "if-none-match": f'"{secret("tag")}"',
    "traceparent": secret("trace"),
}


def _submit(name: str, given: object, **members: object) -> dict[str, object]:
    return {"model": name, "input": given, "metadata": {"password": secret("metadata")}, **members}


def _request(method: str, path: str, body: object = None, *, query: str = "", **headers: str) -> Request:
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    sent = {**_HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    return Request(method=method, path=path.encode(), query=query.encode(), headers=pairs, body=[data])


def _requests() -> list[Request]:
    """Return requests that are right and, for each way to be wrong, one that is wrong there."""
    text = {"text": secret("input")}
    good = _submit("echo", text)
    bodies: list[object] = [
        good,
        _submit("fails", text),
        _submit("fails_in_a_thread", text),
        _submit("paint", {"color": secret("input"), "sizes": []}),
        _submit("paint", {"color": "red", "sizes": [secret("input")]}),
        _submit("paint", {"color": "red", "sizes": {secret("member"): 1}}),
        _submit("echo", {"text": {"a": secret("input")}}),
        _submit("echo", secret("input")),
        _submit(secret("model"), text),
        _submit("echo", text, deadline=secret("instant")),
        _submit("echo", text, priority=secret("number")),
        _submit("echo", text, dedup={"scope": secret("word")}),
        _submit("echo", text, retry=secret("policy")),
        _submit("echo", text, labels={"a": secret("label") * 60}),
        _submit("echo", text, labels={"a\n": secret("label")}),
        _submit("echo", text, webhook={"url": f"https://user:{secret('url')}@hooks.example.com/"}),
        _submit("echo", text, webhook={"endpoint": secret("endpoint"), "events": [secret("event")]}),
        _submit("echo", text, metadata=secret("metadata") * 1_000),
        json.dumps(good).encode()[:-1],
        json.dumps(good).encode() + secret("rest").encode(),
        b'{"' + secret("name").encode() + b'": 1, "' + secret("name").encode() + b'": 2}',
        b'"' + secret("body").encode() + b'"',
        b"\xff" + secret("body").encode(),
    ]
    return [
        *(_request("POST", "/v1/jobs", body) for body in bodies),
        _request("POST", "/v1/jobs", good, idempotency_key=secret("key")),
        _request("POST", "/v1/jobs", _submit("echo", {"text": "another"}), idempotency_key=secret("key")),
        _request("POST", "/v1/jobs", good, idempotency_key=secret("key") * 40),
        _request("POST", "/v1/jobs", good, content_type=f"text/{secret('type')}"),
        _request("POST", "/v1/jobs", good, content_encoding=secret("coding")),
        _request("POST", "/v1/jobs", good, authorization=f"Bearer {secret('wrong-token')}"),
        _request("POST", "/v1/jobs", good, authorization=f"Basic {secret('wrong-token')}"),
        _request("PUT", f"/v1/jobs/{secret('id')}.", good),
        _request("GET", f"/v1/jobs/{secret('id')}"),
        _request("GET", f"/v1/jobs/{secret('id')}/events", last_event_id=secret("event")),
        _request("GET", f"/{secret('path')}"),
        _request("GET", f"/v1/models/{secret('model')}"),
        _request("GET", f"/v1/queues/{secret('queue')}"),
        _request(secret("METHOD"), "/v1/jobs"),
        *(
            _request("GET", "/v1/jobs", query=f"{name}={secret('query')}")
            for name in ("status", "limit", "after", "before", "created_after", "model", "label.a", "token")
        ),
        _request("GET", "/v1/jobs/job_1", query=f"wait={secret('query')}"),
        _request("GET", "/healthz"),
        _request("GET", "/readyz"),
    ]
