"""F34: event streams over HTTP are cut anywhere and resumed by `Last-Event-ID`: every durable event comes exactly once.

Readers of jobs that run, of jobs that have ended, and of jobs whose history is too short for them.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from msgspec import Struct

from asyncinfer import Job, JobHandle, JobManager, Limits, OutputEvent, RetryPolicy, StatusEvent, current_job, model
from asyncinfer.abc import JobStore
from asyncinfer.adapters.http import _events, create_app
from asyncinfer.adapters.http._call import Call
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.raw_http import Connection, Message, MessageParser
from tests.faults.harness.serving import served

pytestmark = pytest.mark.fault

CUTS = {"pr": 1_000, "rel": 10_000}
"""For each store, in all histories together."""
VALUES = 24
"""What a job emits; its first attempt fails in the middle."""
STEP_SECONDS = 0.004
JOBS_AT_ONCE = 10
KEPT = 6
"""Outputs kept of each job, where readers must meet gaps."""
LONGEST_LISTEN = 30.0
Store = Literal["memory", "sqlite"]
DURABLE = ("status", "output", "done")


class Figures(Struct, frozen=True, kw_only=True):
    """What the readers were told, against what the store holds and what the models emitted."""

    seed: int
    cuts_at_events: int
    cuts_at_bytes: int
    streams: int
    events: int
    missing: int
    """Durable events that a reader never got, and no gap told of."""
    twice: int
    out_of_order: int
    wrong_values: int
    resets: int
    resets_untold: int
    """Attempts that began without a reset before their first event."""
    gaps: int
    wrong_ids: int
    """Messages with an id that are not durable, durable ones without or with another's."""
    ended_between: int
    """Jobs that ended while their reader was away."""
    not_told_off: int
    """Readers that came back after `done` and were not answered 204."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    promises = {
        "every durable event comes": figures.missing == 0,
        "none comes twice": figures.twice == 0,
        "they come in order": figures.out_of_order == 0,
        "an output is what the model emitted": figures.wrong_values == 0,
        "a reset opens every further attempt": figures.resets_untold == 0,
        "durable events carry their id, and nothing else does": figures.wrong_ids == 0,
        "whoever has seen the end is told off": figures.not_told_off == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_stream_that_is_cut_and_resumed_tells_everything_once(store: Store, size: Size, tmp_path: Path) -> None:
    figures = await scenario(store, tmp_path, CUTS[size])
    publish(f"F34 {store}", size, figures)
    assert verdict(figures) == []
    assert figures.resets
    assert figures.gaps
    assert figures.ended_between


async def test_canary_a_stream_that_resumes_one_further_misses_events(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resume_elsewhere(monkeypatch, by=1)
    assert "every durable event comes" in verdict(await scenario("memory", tmp_path, 30))


async def test_canary_a_stream_that_resumes_too_early_tells_events_twice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resume_elsewhere(monkeypatch, by=-1)
    assert "none comes twice" in verdict(await scenario("memory", tmp_path, 30))


async def test_canary_a_snapshot_with_an_id_hides_what_lies_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def with_its_revision(stream: _events.EventStream, job: Job) -> bytes:
        return _events._frame(b"snapshot", stream._jobs.job(job, 0), job.revision)

    monkeypatch.setattr(_events.EventStream, "_snapshot", with_its_revision)
    assert "every durable event comes" in verdict(await scenario("memory", tmp_path, 30))


def resume_elsewhere(monkeypatch: pytest.MonkeyPatch, *, by: int) -> None:
    """Let streams begin `by` ids further than they are asked to."""
    behind = _events._last_event_id

    def elsewhere(call: Call, after: int) -> int:
        return max(0, behind(call, after) + by)

    monkeypatch.setattr(_events, "_last_event_id", elsewhere)


async def scenario(store: Store, folder: Path, cuts: int, seed: int | None = None) -> Figures:
    """Cut so many streams and compare what their readers got with what there was."""
    began = time.monotonic()
    seed = random.randrange(2**32) if seed is None else seed
    tally = Tally(random.Random(seed))
    async with service(store, folder / "whole.db", Limits()) as (manager, port):
        while tally.cuts < cuts * 7 // 10:
            handles = [await manager.submit(tells, VALUES) for _ in range(JOBS_AT_ONCE)]
            await asyncio.gather(*(tally.follow(manager, port, handle) for handle in handles))
            await tally.cut_everywhere(manager, port, handles[0])
    async with service(store, folder / "short.db", Limits(events_per_job=KEPT)) as (manager, port):
        while tally.cuts < cuts:
            handles = [await manager.submit(tells, VALUES) for _ in range(JOBS_AT_ONCE)]
            await asyncio.gather(*(tally.follow(manager, port, handle) for handle in handles))
    return tally.figures(seed, time.monotonic() - began)


@asynccontextmanager
async def service(store: Store, database: Path, limits: Limits) -> AsyncGenerator[tuple[JobManager, int]]:
    held: JobStore = MemoryStore() if store == "memory" else SQLiteStore(database)
    async with held, JobManager(held, models=[tells], limits=limits) as manager:
        app = create_app(manager, public_base_url="http://loopback", allow_anonymous=True)
        async with served(app) as site:
            yield manager, site.port


_emitted: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
"""By job: (attempt, value), written down by the model itself."""


@model(retry=RetryPolicy(max_attempts=2, initial_delay=0, max_delay=0))
async def tells(values: int) -> int:
    job = current_job()
    for number in range(values):
        job.emit(number)
        _emitted[job.job_id].append((job.attempt, number))
        if number % 3 == 0:
            job.progress(number / values)
            await job.drain()
        await asyncio.sleep(STEP_SECONDS)  # what a step of a model takes
        if job.attempt == 1 and number == values // 2:
            raise ConnectionError("the first attempt ends here")
    return values


class Output(Struct, frozen=True):
    """One output as a reader got it."""

    attempt: int
    value: int
    is_after_gap: bool
    """A gap was told between the output before it and this one."""


class Reader:
    """What one reader of one job has heard, as a browser's EventSource would: through any number of connections."""

    def __init__(self) -> None:
        self.last_id = 0
        self.ids: list[int] = []
        """Of the durable events, as they came."""
        self.outputs: list[Output] = []
        self.gaps = self.resets = self.resets_untold = self.wrong_ids = 0
        self.is_done = False
        self._attempt = self._reset_to = 0
        self._is_gap_told = False

    def take(self, message: Message) -> None:
        if message.id is not None:
            self.last_id = message.id
        told = message.json()
        if message.event == "gap":
            self.gaps += 1
            self._is_gap_told = True
        elif message.event == "reset":
            self.resets += 1
            self._reset_to = told["attempt"]
        if message.event in DURABLE:
            event = told["event"] if message.event == "done" else told
            self._take_durable(event)
            self.wrong_ids += message.id != event["id"]
        else:
            self.wrong_ids += message.id is not None
        self.is_done = message.event == "done"

    def _take_durable(self, event: dict[str, Any]) -> None:  # Any: JSON
        self.resets_untold += 0 < self._attempt < event["attempt"] != self._reset_to
        self._attempt = event["attempt"]
        self.ids.append(event["id"])
        if event["kind"] == "output":
            self.outputs.append(Output(self._attempt, event["value"], self._is_gap_told))
            self._is_gap_told = False


class Tally:
    """Sends readers, cuts them, and counts."""

    def __init__(self, randomness: random.Random) -> None:
        self._random = randomness
        self._counts: Counter[str] = Counter()

    @property
    def cuts(self) -> int:
        return self._counts["cuts_at_events"] + self._counts["cuts_at_bytes"]

    async def follow(self, manager: JobManager, port: int, handle: JobHandle[int]) -> None:
        """Read a job that runs, in pieces, until its end."""
        reader = Reader()
        status = 200
        while status == 200 and not reader.is_done:
            if self._random.random() < 0.04:
                self._counts["ended_between"] += not (await handle.job()).is_terminal
                await handle.wait()
            if self._random.random() < 0.5:
                status = await self._listen(port, handle.id, reader, messages=self._random.randint(0, 7))
            else:
                status = await self._listen(port, handle.id, reader, characters=self._random.randint(0, 4_000))
        self._counts["not_told_off"] += await self._listen(port, handle.id, reader) != 204
        await self._judge(manager, handle.id, reader)

    async def cut_everywhere(self, manager: JobManager, port: int, handle: JobHandle[int]) -> None:
        """Read an ended job once for each of its messages: cut behind that one, then to the end."""
        for messages in itertools.count():
            reader = Reader()
            await self._listen(port, handle.id, reader, messages=messages)
            if reader.is_done:
                return
            await self._listen(port, handle.id, reader)
            await self._judge(manager, handle.id, reader)

    async def _listen(
        self, port: int, job_id: str, reader: Reader, *, messages: int | None = None, characters: int | None = None
    ) -> int:
        """Read on from where the reader is, up to a cut or the end; return the status."""
        self._counts["streams"] += 1
        connection = await Connection.open(port)
        try:
            async with asyncio.timeout(LONGEST_LISTEN):
                headers = {"accept": "text/event-stream", "last-event-id": str(reader.last_id)}
                await connection.send("GET", f"/v1/jobs/{job_id}/events", headers=headers)
                head = await connection.head()
                if head.status == 200 and await _read(connection, reader, messages, characters):
                    self._counts["cuts_at_bytes" if messages is None else "cuts_at_events"] += 1
        finally:
            await connection.cut()
        return head.status

    async def _judge(self, manager: JobManager, job_id: str, reader: Reader) -> None:
        """Compare what the reader got with the store's events, and with what the model says it emitted."""
        page = await manager.events(job_id, limit=1_000)
        ids = {event.id for event in page.events if isinstance(event, (StatusEvent, OutputEvent))}
        emitted = _emitted[job_id]
        self._counts += Counter(
            events=len(reader.ids),
            missing=len(ids.difference(reader.ids)) + _missing(emitted, reader.outputs),
            twice=len(reader.ids) - len(set(reader.ids)),
            out_of_order=reader.ids != sorted(reader.ids),
            wrong_values=sum((output.attempt, output.value) not in emitted for output in reader.outputs),
            resets=reader.resets,
            resets_untold=reader.resets_untold,
            gaps=reader.gaps,
            wrong_ids=reader.wrong_ids,
        )

    def figures(self, seed: int, seconds: float) -> Figures:
        counts = {**dict.fromkeys(Figures.__struct_fields__, 0), **self._counts}
        return msgspec.convert({**counts, "seed": seed, "seconds": round(seconds, 1)}, Figures)


async def _read(connection: Connection, reader: Reader, messages: int | None, characters: int | None) -> bool:
    """Hand messages to the reader, up to so many of them or of their bytes; tell whether that cuts the stream."""
    parser = MessageParser()
    if 0 in (messages, characters):
        return True
    async for piece in connection.pieces():
        part = piece[:characters]
        for message in parser.feed(part):
            reader.take(message)
            if messages is not None:
                messages -= 1
                if messages == 0:
                    return not reader.is_done
        if characters is not None:
            characters -= len(part)
            if characters == 0:
                return not reader.is_done
    return False


def _missing(emitted: Sequence[tuple[int, int]], outputs: Sequence[Output]) -> int:
    """Count the emitted values that the reader did not get although no gap told of them."""
    places = {value: place for place, value in enumerate(emitted)}
    missing = expected = 0
    for output in outputs:
        place = places.get((output.attempt, output.value), expected)
        missing += 0 if output.is_after_gap else max(0, place - expected)
        expected = place + 1
    return missing + max(0, len(emitted) - expected)
