"""F14 over HTTP: a caller with thousands of waiting jobs does not make another caller's ten wait.

Two tokens, two owners. The jobs run on a fake clock, one second each: the figures are of the order of claims alone.
"""

from __future__ import annotations

from datetime import datetime

import pytest
from msgspec import Struct

from asyncinfer import JobManager, Limits, lifecycle, model
from asyncinfer.adapters.http import BearerTokens, create_app
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.raw_http import Connection
from tests.faults.harness.serving import served

pytestmark = pytest.mark.fault

JOB_SECONDS = 1.0
SLOTS = 4
BACKLOG = {"pr": 1_000, "rel": 10_000}
JOBS_OF_B = 10
TOKENS = {"a": "token-of-a", "b": "token-of-b"}
LONGEST_WAIT = 10_000
"""Seconds of the fake clock; a job that has not started by then starts never."""


class Figures(Struct, frozen=True, kw_only=True):
    """Seconds from submit to start, the slowest of caller B's ten jobs."""

    submitted_by_a: int
    unloaded: float
    loaded: float
    refused: int
    """Submits that were not answered 202."""


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "another caller's backlog costs at most twice the unloaded wait and one job": figures.loaded
        <= 2 * figures.unloaded + JOB_SECONDS,
        "nobody is refused": figures.refused == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


async def test_a_backlog_of_one_caller_does_not_hold_up_another(size: Size) -> None:
    figures = await scenario(BACKLOG[size])
    publish("F14 http", size, figures)
    assert verdict(figures) == []


async def test_canary_first_come_first_served_holds_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    arrivals = iter(range(1_000_000))

    def in_order_of_arrival(virtual_time: float, flow_end: float, priority: int) -> tuple[float, float]:
        tag = float(next(arrivals))
        return tag, tag

    monkeypatch.setattr(lifecycle, "next_tag", in_order_of_arrival)
    assert verdict(await scenario(backlog=100)) != []


async def scenario(backlog: int) -> Figures:
    """Return how long B's jobs wait alone, and behind A's."""
    unloaded, refused_alone = await _slowest_start(0)
    loaded, refused = await _slowest_start(backlog)
    return Figures(submitted_by_a=backlog, unloaded=unloaded, loaded=loaded, refused=refused_alone + refused)


async def _slowest_start(backlog: int) -> tuple[float, int]:
    clock = FakeClock()

    @model(concurrency=SLOTS)
    async def takes_a_second(number: int) -> int:
        await clock.sleep(JOB_SECONDS)
        return number

    limits = Limits(queued_jobs=2 * backlog + 100)
    tokens = BearerTokens({BearerTokens.hash(token): owner for owner, token in TOKENS.items()})
    async with (
        MemoryStore(clock=clock) as store,
        JobManager(store, models=[takes_a_second], limits=limits, drain_grace=0) as manager,
        served(create_app(manager, public_base_url="http://loopback", authenticate=tokens)) as site,
    ):
        of_a = Caller(await Connection.open(site.port), "a")
        of_b = Caller(await Connection.open(site.port), "b")
        for _ in range(backlog):
            await of_a.submit()
        await clock.advance(2.5)  # A's jobs run, and the slots are taken when B comes
        submitted_at = clock.now()
        jobs = [job for _ in range(JOBS_OF_B) if (job := await of_b.submit())]
        starts = [await of_b.start_of(job, clock) for job in jobs]
        await of_a.connection.cut()
        await of_b.connection.cut()
    return max(starts) - submitted_at / 1000, of_a.refused + of_b.refused


class Caller:
    """One owner, on one connection that is kept."""

    def __init__(self, connection: Connection, owner: str) -> None:
        self.connection = connection
        self.refused = 0
        self._headers = {"authorization": f"Bearer {TOKENS[owner]}"}

    async def submit(self) -> str | None:
        """Submit a job; return its id, or None when it was refused."""
        body = b'{"model": "takes_a_second", "input": {"number": 1}}'
        await self.connection.send("POST", "/v1/jobs", headers=self._headers, body=body)
        answer = await self.connection.answer()
        self.refused += answer.status != 202
        return str(answer.json()["id"]) if answer.status == 202 else None

    async def start_of(self, job: str, clock: FakeClock) -> float:
        """Let the time pass until the job has started; return when that was, in seconds since 1970."""
        for _ in range(LONGEST_WAIT):
            await self.connection.send("GET", f"/v1/jobs/{job}", headers=self._headers)
            started_at = (await self.connection.answer()).json()["started_at"]
            if started_at is not None:
                return datetime.fromisoformat(started_at).timestamp()
            await clock.advance(JOB_SECONDS)
        raise AssertionError(f"job {job} does not start")
