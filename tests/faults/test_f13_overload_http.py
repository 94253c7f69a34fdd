"""F13 over HTTP: ten times more large inputs than there is room for: memory and queue stay bounded, refusals are typed.

The server runs in a process of its own, whose memory is looked at; the callers run in the test's.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct

from asyncinfer import JobManager, Limits, model
from asyncinfer.abc import JobStore
from asyncinfer.adapters.http import BearerTokens, Bounds, create_app
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.processes import nursery
from tests.faults.harness.raw_http import Answer, Connection, fetch
from tests.faults.harness.serving import resident_bytes, served
from tests.faults.harness.waiting import until
from tests.faults.harness.witness import Testimony, Witness

pytestmark = pytest.mark.fault

SECONDS = {"pr": 2.0, "rel": 60.0}
MIB = 1024 * 1024
CAP = 64
"""Inputs of 1 MiB that may wait; nobody runs them."""
QUOTA = 30
"""Of each owner: the first one reaches it, all together reach the cap."""
CALLERS = {"a": 40, "b": 12, "c": 12}
"""Connections by owner, each of which sends one submit after another: so many inputs are on their way at once."""
SLACK = 100 * MIB
ASKED = 4 * CAP
"""Submits at least, on a slow machine too."""
LOOK_SECONDS = 0.02
PATIENCE = 30.0
Store = Literal["memory", "sqlite"]
TYPED = {"queue-full": 503, "quota-exceeded": 429}
BODY = b'{"model": "keeps", "input": {"data": "%s"}}' % base64.b64encode(b"x" * MIB)


class Figures(Struct, frozen=True, kw_only=True):
    """What the callers were answered, and what the server took."""

    asked: int
    accepted: int
    refused: Mapping[str, int]
    """By problem."""
    untyped: int
    """Neither accepted nor refused as 429 or 503 with Retry-After."""
    queued: int
    limit: int
    mib_grown: float
    """The most that the server's process grew."""
    mib_allowed: float
    """The cap of waiting inputs, where they are held in memory, and 100 MiB."""
    asked_per_second: float


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "memory stays within the cap and 100 MiB": figures.mib_grown <= figures.mib_allowed,
        "the queue is as long as its limit, and no longer": figures.queued == figures.accepted == figures.limit,
        "every refusal says what it is and when to come back": figures.untyped == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_an_overload_is_refused_and_held(store: Store, size: Size, tmp_path: Path) -> None:
    figures = await scenario(store, tmp_path, SECONDS[size])
    publish(f"F13 http {store}", size, figures)
    assert verdict(figures) == []
    assert figures.refused.keys() == {"queue-full", "quota-exceeded"}


async def test_canary_without_a_cap_memory_grows(tmp_path: Path) -> None:
    figures = await scenario("memory", tmp_path, 3.0, is_capped=False)
    assert "the queue is as long as its limit, and no longer" in verdict(figures)
    assert "memory stays within the cap and 100 MiB" in verdict(figures)


async def test_canary_without_room_for_bodies_those_on_their_way_take_memory(tmp_path: Path) -> None:
    figures = await scenario("sqlite", tmp_path, 2.0, bodies_bytes=1024 * MIB)
    assert "memory stays within the cap and 100 MiB" in verdict(figures)


@model
async def keeps(data: bytes) -> int:
    return len(data)


async def serve(store: Store, folder: Path, *, is_capped: bool, bodies_bytes: int) -> None:
    """Serve jobs that nobody runs, in a process of its own; write down its port, and how far its memory grows."""
    witness = Witness(folder / "witnesses")
    limits = Limits(queued_jobs=CAP, owner_queued_jobs=QUOTA) if is_capped else Limits(queued_bytes=1024 * 1024 * MIB)
    held: JobStore = MemoryStore() if store == "memory" else SQLiteStore(folder / "jobs.db")
    tokens = BearerTokens({BearerTokens.hash(f"token of {owner}"): owner for owner in CALLERS})
    async with held, JobManager(held, models=[keeps], limits=limits) as manager:
        await manager.pause("default")
        bounds = Bounds(bodies_bytes=bodies_bytes)
        app = create_app(manager, public_base_url="http://loopback", authenticate=tokens, bounds=bounds)
        async with served(app) as site:
            before = most = resident_bytes()
            witness.write("serving", attempt=site.port)
            while True:
                await asyncio.sleep(LOOK_SECONDS)  # nobody tells of memory: it has to be looked at
                if (now := resident_bytes()) > most:
                    most = now
                    witness.write("grown", attempt=most - before)


async def scenario(
    store: Store, folder: Path, seconds: float, *, is_capped: bool = True, bodies_bytes: int = Bounds().bodies_bytes
) -> Figures:
    """Send far more than there is room for, for so long."""
    testimony = Testimony(folder / "witnesses")
    answers: list[Answer] = []
    with nursery(folder / "logs") as processes:
        processes.start(serve, store, folder, is_capped=is_capped, bodies_bytes=bodies_bytes)
        await until(lambda: bool(testimony.lines("serving")), PATIENCE, what="the server listens")
        port = testimony.lines("serving")[0].attempt
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for owner, count in CALLERS.items():
                for _ in range(count):
                    group.create_task(_submit_until(began + seconds, port, owner, answers))
        took = time.monotonic() - began
        queues = [await fetch(port, "GET", "/v1/queues/default", headers=_headers(owner)) for owner in CALLERS]
        grown = max((line.attempt for line in testimony.lines("grown")), default=0)
    refused = [answer for answer in answers if answer.status != 202]
    return Figures(
        asked=len(answers),
        accepted=len(answers) - len(refused),
        refused=dict(Counter(answer.problem for answer in refused)),
        untyped=sum(TYPED.get(answer.problem) != answer.status or answer.retry_after is None for answer in refused),
        queued=sum(queue.json()["depth"] for queue in queues),
        limit=CAP,
        mib_grown=round(grown / MIB, 1),
        mib_allowed=(CAP if store == "memory" else 0) + SLACK / MIB,
        asked_per_second=round(len(answers) / took, 1),
    )


async def _submit_until(end: float, port: int, owner: str, answers: list[Answer]) -> None:
    connection = await Connection.open(port)
    while time.monotonic() < end or len(answers) < ASKED:
        await connection.send("POST", "/v1/jobs", headers=_headers(owner), body=BODY)
        answers.append(await connection.answer())
    await connection.cut()


def _headers(owner: str) -> Mapping[str, str]:
    return {"authorization": f"Bearer token of {owner}"}
