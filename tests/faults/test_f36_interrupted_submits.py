"""F36: submits over HTTP lose their answer once the server has the request, and are sent again: one job each.

The client is the library's own: it makes the idempotency keys and sends again by itself.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import Struct

from asyncinfer import JobFilter, JobManager, Limits, model
from asyncinfer.abc import JobStore
from asyncinfer.adapters.http import create_app
from asyncinfer.client import AsyncClient, Timing
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.answer_dropper import Cut, answer_dropper
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.serving import served

pytestmark = pytest.mark.fault

SUBMITS = {"pr": 1_000, "rel": 10_000}
AT_ONCE = 8
LIMITS = Limits(queued_jobs=1_000_000)


class Figures(Struct, frozen=True, kw_only=True):
    """What the client got, and what the store held afterwards."""

    seed: int
    submits: int
    cuts: Mapping[Cut, int]
    """By when the connection was cut; each submit once."""
    answered: int
    """Submits that returned a job."""
    ids: int
    """Different ids that were returned."""
    replayed: int
    """Submits that were answered with a job that an earlier try had made."""
    jobs: int
    ids_unknown: int
    """Returned, and not there."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "every submit is cut, and answered in the end": sum(figures.cuts.values())
        == figures.answered
        == figures.submits,
        "each submit has a job of its own": figures.ids == figures.submits,
        "one submit makes one job": figures.jobs == figures.submits,
        "an id that was returned is there": figures.ids_unknown == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


async def test_an_interrupted_submit_makes_one_job(size: Size, tmp_path: Path) -> None:
    figures = await scenario(SQLiteStore(tmp_path / "jobs.db"), SUBMITS[size])
    publish("F36", size, figures)
    assert verdict(figures) == []
    assert figures.replayed


async def test_canary_without_the_key_a_submit_makes_more_jobs() -> None:
    figures = await scenario(MemoryStore(), 20, is_key_dropped=True)
    assert verdict(figures) == ["one submit makes one job"]


@model
async def never_run(number: int) -> int:
    return number


class Hasty(Timing):
    """Waits as long as another task needs, in place of half a second."""

    async def sleep_async(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


async def scenario(store: JobStore, submits: int, *, is_key_dropped: bool = False) -> Figures:
    """Submit so many jobs, each interrupted once, and count them."""
    began, seed = time.monotonic(), random.randrange(2**32)
    async with store, JobManager(store, models=[never_run], limits=LIMITS) as manager:
        await manager.pause("default")  # so that the jobs are there to be counted, and cost nothing else
        app = create_app(manager, public_base_url="http://loopback", allow_anonymous=True)
        async with (
            served(app) as site,
            answer_dropper(site.port, random.Random(seed), is_key_dropped=is_key_dropped) as (port, dropper),
        ):
            ids = await _submit_all(port, submits)
        jobs = {job.id async for job in manager.find_all(JobFilter(model="never_run"))}
    return Figures(
        seed=seed,
        submits=submits,
        cuts=dict(dropper.cuts),
        answered=len(ids),
        ids=len(set(ids)),
        replayed=dropper.replays,
        jobs=len(jobs),
        ids_unknown=len(set(ids) - jobs),
        seconds=round(time.monotonic() - began, 1),
    )


async def _submit_all(port: int, submits: int) -> list[str]:
    """Return the id of each submit's job."""
    ids: list[str] = []
    numbers = iter(range(submits))

    async def submit_some(client: AsyncClient) -> None:
        for number in numbers:
            job = await client.submit("never_run", {"number": number})
            ids.append(job.id)

    async with AsyncClient(f"http://127.0.0.1:{port}", timing=Hasty()) as client, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(submit_some(client))
    return ids
