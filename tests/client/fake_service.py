"""A service that answers from a script, and a clock that moves only when the client waits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any

import httpx
import msgspec

from asyncinfer.client import AsyncClient, Client, Timing

ROOT = "https://api.example.com/inference"
Step = httpx.Response | Exception | Callable[[httpx.Request], httpx.Response]


class FakeTiming(Timing):
    """Time that passes only in sleeps, and the largest random number each time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def random(self) -> float:
        return 1.0

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        self.sleep(seconds)


class FakeService:
    """Does its steps in order, the last one again and again; remembers what it was asked."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.requests: list[httpx.Request] = []
        self.timing = FakeTiming()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, httpx.Response) else step(request)

    def client(self, **options: Any) -> AsyncClient:  # Any: whatever AsyncClient takes
        return AsyncClient(ROOT, transport=httpx.MockTransport(self), timing=self.timing, **options)

    def sync_client(self, **options: Any) -> Client:  # Any: whatever Client takes
        return Client(ROOT, transport=httpx.MockTransport(self), timing=self.timing, **options)

    @property
    def asked(self) -> list[str]:
        return [f"{one.method} {one.url.raw_path.decode()}" for one in self.requests]

    def header(self, name: str) -> list[str | None]:
        return [one.headers.get(name) for one in self.requests]


class Parts(httpx.AsyncByteStream, httpx.SyncByteStream):
    """A body in parts that may end with a lost connection."""

    def __init__(self, parts: Iterable[bytes], *, is_cut: bool = False) -> None:
        self._parts = list(parts)
        self._is_cut = is_cut

    def __iter__(self) -> Iterator[bytes]:
        yield from self._parts
        if self._is_cut:
            raise httpx.ReadError("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


def job_json(status: str = "queued", **members: object) -> dict[str, object]:
    """Return a job as the wire has it."""
    url = f"{ROOT}/v1/jobs/job_1"
    links = dict.fromkeys(("self", "result", "events", "cancel", "retry"), url)
    instants = ("not_before", "started_at", "finished_at", "forget_at", "deadline", "cancel_requested_at")
    others = ("output", "error", "progress", "queue", "metadata", "retry_of", "retry_after_seconds")
    empty = dict.fromkeys(instants + others)
    counts = dict.fromkeys(("attempt", "failures", "crashes"), 0)
    told = {"object": "job", "id": "job_1", "model": "echo", "status": status, "revision": 1, "max_attempts": 1}
    rest = {"created_at": "2027-01-15T08:00:00Z", "priority": 5, "labels": {}, "deduplicated": False, "links": links}
    metrics = {"metrics": {"queue_seconds": None, "run_seconds": None}}
    return {**empty, **counts, **told, **rest, **metrics, **members}


def job(
    status: str = "queued", http_status: int = 200, headers: Mapping[str, str] = {}, **members: object
) -> httpx.Response:
    return httpx.Response(http_status, json=job_json(status, **members), headers=dict(headers))


def failed_error(code: str = "model_error") -> dict[str, object]:
    return {"code": code, "message": "boom", "retryable": False, "attempt": 1, "details": {}}


def problem(slug: str, status: int, *, retry_after: int | None = None, **members: object) -> httpx.Response:
    headers = {"content-type": "application/problem+json"}
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    told = {"type": f"urn:asyncinfer:problem:{slug}", "title": slug, "status": status, **members}
    return httpx.Response(status, content=msgspec.json.encode(told), headers=headers)


def page_of(what: str, status: int, **headers: str) -> httpx.Response:
    """Return a page that some proxy made."""
    return httpx.Response(status, text=f"<html>{what}</html>", headers={"content-type": "text/html", **headers})


def stream(*parts: bytes, is_cut: bool = False) -> httpx.Response:
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Parts(parts, is_cut=is_cut))
