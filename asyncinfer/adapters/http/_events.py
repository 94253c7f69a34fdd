"""A job's events: as a page, or as a stream (server-sent events) that resumes where it was cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from starlette.types import Send

from asyncinfer import Event, GapEvent, Job, JobHandle, ResetEvent, StatusEvent, wire
from asyncinfer._limits import KIB
from asyncinfer.abc import StoredEvent
from asyncinfer.adapters._job_answer import JobAnswers
from asyncinfer.adapters.http._call import Answer, Call, Responds, answer, ended
from asyncinfer.adapters.http._headers import accepts
from asyncinfer.adapters.http._look import count_in, found
from asyncinfer.adapters.http._problems import invalid
from asyncinfer.errors import JobExpired, StoreError, UnknownJob
from asyncinfer.lifecycle import TERMINAL

RETRY_MS = 2_000
"""What a browser waits before it comes back."""
CHUNK_BYTES = 64 * KIB
"""Of events that are sent at a time: a reader that is stuck costs a few times this, beside the page it is at."""
LONGEST_PAGE = 1_000
HIGHEST_ID = 10**9 - 1
VARY = (b"vary", b"Accept")
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    VARY,
    (b"x-accel-buffering", b"no"),  # asks nginx not to gather what should arrive at once
)
_KEEP_ALIVE = b": keep-alive\n\n"
_encoder = msgspec.json.Encoder()


class Done(Struct, frozen=True):
    """The data of `done`: the terminal event, and the job with its result."""

    event: wire.StatusEvent
    job: wire.Job


async def events(call: Call) -> Responds:
    """Answer with a page of events, or (`Accept: text/event-stream`) with all of them as they happen."""
    query = call.query("after", "limit")
    after = _last_event_id(call, count_in(query, "after", default=0, lowest=0, highest=HIGHEST_ID))
    limit = count_in(query, "limit", default=200, highest=LONGEST_PAGE)
    handle, job = await found(call)
    await call.may("events", job)
    if not accepts(call.headers, "text/event-stream"):
        return await _page(call, job, after, limit)
    after = min(after, job.revision)
    if job.is_terminal and after >= job.revision:
        return Answer(204, b"", [VARY])
    return EventStream(call, handle, job, after)


async def _page(call: Call, job: Job, after: int, limit: int) -> Answer:
    page = await call.owned.events(job.id, after, limit=limit)
    told = wire.EventList(
        data=[await call.service.jobs.told_event(event) for event in page.events],
        has_gap=page.has_gap,
        has_more=page.has_more,
        next_cursor=str(page.events[-1].id if page.events else after),
    )
    return answer(told, 200, [VARY])


def _last_event_id(call: Call, after: int) -> int:
    given = call.headers.get(b"last-event-id", b"").decode("latin-1")
    if not given:
        return after
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise invalid("Last-Event-ID", "expected the id of an event of this job")
    return int(given)


class EventStream:
    """One reader of one job. It pulls: what is not read yet lies in the store, not in memory.

    `snapshot`, then what is behind `after`, then what happens, and at last `done`. Only durable events carry an id. The
    terminal move is told once, as `done`, so that a stream cut just before it brings it again. Dropping the stream
    never cancels the job.
    """

    def __init__(self, call: Call, handle: JobHandle[Any], job: Job, after: int) -> None:
        self._call = call
        self._handle = handle
        self._job = job
        self._after = after
        self._jobs: JobAnswers = call.service.jobs

    async def send(self, send: Send, *, is_head: bool = False) -> None:
        # Whoever takes nothing, or is gone, gets no end either: a server closes a connection whose answer lacks one.
        with contextlib.suppress(TimeoutError, OSError):
            await send({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *self._call.rate_headers]})
            if not is_head:
                # Cut short, the stream has no `done`: its reader comes back and goes on by id.
                with contextlib.suppress(UnknownJob, JobExpired, StoreError):
                    await self._stream(send)
            await self._write(send, b"", more_body=False)

    async def _stream(self, send: Send) -> None:
        await self._write(send, b"retry: %d\n" % RETRY_MS + self._snapshot(self._job))
        async with contextlib.aclosing(self._batches()) as batches:
            async for batch in batches:
                if batch is None:
                    await self._write(send, _KEEP_ALIVE)
                else:
                    await self._tell(send, batch)

    async def _batches(self) -> AsyncGenerator[Sequence[Event] | None]:
        """Yield events as they come, and None whenever there was none for a while; end when the manager drains."""
        gone = asyncio.ensure_future(self._call.disconnected())
        draining = self._call.service.draining()
        events = self._handle.event_batches(self._after)
        coming: asyncio.Future[Sequence[Event] | None] = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                pause = self._call.service.bounds.keep_alive_seconds
                several: set[asyncio.Future[Any]] = {coming, gone, draining}
                await asyncio.wait(several, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    batch = coming.result()
                    if batch is None:
                        return
                    yield batch
                    coming = asyncio.ensure_future(anext(events, None))
                elif gone.done() or draining.done():
                    return
                else:
                    yield None
        finally:
            await ended(coming, gone)
            await events.aclose()

    async def _tell(self, send: Send, batch: Sequence[Event]) -> None:
        """Write events, several at a time as long as they are small."""
        lines: list[bytes] = []
        size = 0
        for event in batch:
            text = await self._text(event)
            lines.append(text)
            size += len(text)
            if size >= CHUNK_BYTES:
                chunk = b"".join(lines)
                lines, size = [], 0
                await self._write(send, chunk)
        if lines:
            await self._write(send, b"".join(lines))

    async def _text(self, event: Event) -> bytes:
        if isinstance(event, ResetEvent):
            return _frame(b"reset", wire.ResetEvent(attempt=event.attempt, at=self._jobs.instant(event.at)))
        if isinstance(event, GapEvent):
            gap = _frame(b"gap", wire.GapEvent(attempt=event.attempt, at=self._jobs.instant(event.at)))
            return gap + self._snapshot(await self._handle.job())
        if isinstance(event, StatusEvent) and event.status in TERMINAL:
            return await self._done(event)
        told = await self._jobs.told_event(event)
        if isinstance(told, wire.ProgressEvent):
            return _frame(b"progress", told)
        return _frame(b"status" if isinstance(told, wire.StatusEvent) else b"output", told, told.id)

    async def _done(self, event: StoredEvent) -> bytes:
        job = await self._handle.job()
        told = self._jobs.event(event)
        assert isinstance(told, wire.StatusEvent)
        return _frame(b"done", Done(told, await self._jobs.told(job, self._call.now())), told.id)

    def _snapshot(self, job: Job) -> bytes:
        return _frame(b"snapshot", self._jobs.job(job, self._call.now()))

    async def _write(self, send: Send, text: bytes, *, more_body: bool = True) -> None:
        async with asyncio.timeout(self._call.service.bounds.send_seconds):
            await send({"type": "http.response.body", "body": text, "more_body": more_body})


def _frame(name: bytes, data: Struct, event_id: int | None = None) -> bytes:
    """Return one event. JSON escapes every line end, so its data is one line."""
    head = b"" if event_id is None else b"id: %d\n" % event_id
    return b"".join((head, b"event: ", name, b"\ndata: ", _encoder.encode(data), b"\n\n"))
