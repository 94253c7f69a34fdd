"""Following a job's events: every durable one exactly once, wherever the connection is cut."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import httpx
import pytest
from msgspec import Struct

from asyncinfer.client import ConnectionLost, UnexpectedAnswer
from asyncinfer.errors import JobCanceled, JobExpired, JobFailed, StreamReset, UnknownJob
from asyncinfer.wire import GapEvent, OutputEvent, ProgressEvent, ResetEvent, StatusEvent, StreamedEvent
from tests.client.fake_service import FakeService, failed_error, job_json, page_of, problem, stream

AT = "2027-01-15T08:00:00Z"


def frame(name: str, data: object, event_id: int | None = None) -> bytes:
    head = "" if event_id is None else f"id: {event_id}\n"
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def status(event_id: int, name: str, attempt: int = 1, error: object = None) -> dict[str, object]:
    return {"kind": "status", "id": event_id, "attempt": attempt, "at": AT, "status": name, "error": error}


def output(event_id: int, value: object, attempt: int = 1) -> bytes:
    data = {"kind": "output", "id": event_id, "attempt": attempt, "at": AT, "value": value}
    return frame("output", data, event_id)


def progress(event_id: int, fraction: float, attempt: int = 1) -> bytes:
    told = {"fraction": fraction, "current": None, "total": None, "message": ""}
    return frame("progress", {"kind": "progress", "id": event_id, "attempt": attempt, "at": AT, "progress": told})


def reset(attempt: int) -> bytes:
    return frame("reset", {"kind": "reset", "attempt": attempt, "at": AT})


def gap(attempt: int = 1) -> bytes:
    return frame("gap", {"kind": "gap", "attempt": attempt, "at": AT})


def done(event_id: int, name: str = "succeeded", attempt: int = 1, error: object = None) -> bytes:
    data = {"event": status(event_id, name, attempt, error), "job": job_json(name, output=["a"], error=error)}
    return frame("done", data, event_id)


SNAPSHOT = b"retry: 2000\n\n" + frame("snapshot", job_json("running"))
QUEUED = frame("status", status(1, "queued", 0), 1)
RUNNING = frame("status", status(2, "running"), 2)
DURABLE = [(1, QUEUED), (2, RUNNING), (3, output(3, "a")), (4, output(4, "b")), (6, done(6))]


class EventService(FakeService):
    """Serves a job's durable events behind `Last-Event-ID`, the first connection cut after so many bytes."""

    def __init__(self, cut: int, *, is_clean: bool) -> None:
        super().__init__(self._serve)
        self._cut: int | None = cut
        self._is_clean = is_clean

    def _serve(self, request: httpx.Request) -> httpx.Response:
        after = int(request.headers.get("last-event-id", "0"))
        text = SNAPSHOT + b"".join(data for event_id, data in DURABLE if event_id > after)
        cut, self._cut = self._cut, None
        return stream(text) if cut is None else stream(text[:cut], is_cut=not self._is_clean)


async def collect(events: AsyncGenerator[StreamedEvent, None]) -> list[StreamedEvent]:
    return [event async for event in events]


def ids(events: Sequence[StreamedEvent]) -> list[int]:
    return [event.id for event in events if isinstance(event, (StatusEvent, OutputEvent))]


WHOLE = SNAPSHOT + b"".join(data for _, data in DURABLE)


@pytest.mark.parametrize("is_clean", [True, False])
async def test_every_durable_event_comes_once_wherever_the_stream_is_cut(is_clean: bool) -> None:
    for cut in range(len(WHOLE)):
        service = EventService(cut, is_clean=is_clean)
        async with service.client() as client:
            assert ids(await collect(client.job("job_1").events())) == [1, 2, 3, 4, 6], cut
        assert len(service.requests) == 2


async def test_the_first_request_asks_for_everything_and_the_next_for_the_rest() -> None:
    service = EventService(len(SNAPSHOT + QUEUED + RUNNING) + 5, is_clean=True)

    async with service.client() as client:
        await collect(client.job("job_1").events())

    assert service.header("last-event-id") == [None, "2"]
    assert service.header("accept") == ["text/event-stream"] * 2
    assert service.timing.waits == [2.5]


async def test_events_behind_an_id_are_asked_for_by_it() -> None:
    service = FakeService(stream(SNAPSHOT, output(4, "b"), done(6)))

    async with service.client() as client:
        assert ids(await collect(client.job("job_1").events(after=3))) == [4, 6]

    assert service.header("last-event-id") == ["3"]


async def test_nothing_left_is_the_end() -> None:
    async with FakeService(httpx.Response(204)).client() as client:
        assert await collect(client.job("job_1").events(after=6)) == []


async def test_the_last_event_is_the_terminal_move() -> None:
    async with FakeService(stream(SNAPSHOT, done(2, "failed", error=failed_error()))).client() as client:
        (last,) = await collect(client.job("job_1").events())

    assert isinstance(last, StatusEvent)
    assert last.error is not None
    assert (last.status, last.error.code) == ("failed", "model_error")


async def test_what_follows_done_is_not_read() -> None:
    service = FakeService(stream(SNAPSHOT, done(2), output(9, "never")))

    async with service.client() as client:
        assert ids(await collect(client.job("job_1").events())) == [2]


async def test_a_stream_asks_for_its_own_pause() -> None:
    service = FakeService(stream(b"retry: 100\n\n", SNAPSHOT[13:]), stream(SNAPSHOT, done(1)))

    async with service.client() as client:
        await collect(client.job("job_1").events())

    assert service.timing.waits == [0.125]


async def test_progress_that_comes_again_is_not_given_again() -> None:
    service = FakeService(
        stream(SNAPSHOT, RUNNING, progress(3, 0.5)), stream(SNAPSHOT, progress(3, 0.5), progress(4, 0.6), done(5))
    )

    async with service.client() as client:
        events = await collect(client.job("job_1").events())

    assert [event.progress.fraction for event in events if isinstance(event, ProgressEvent)] == [0.5, 0.6]


async def test_a_reset_that_comes_again_is_not_given_again() -> None:
    first = stream(SNAPSHOT, RUNNING, output(3, "a"), reset(2), is_cut=True)
    service = FakeService(first, stream(SNAPSHOT, reset(2), output(5, "b", 2), done(6, attempt=2)))

    async with service.client() as client:
        events = await collect(client.job("job_1").events())

    assert [event.attempt for event in events if isinstance(event, ResetEvent)] == [2]


async def test_a_reset_that_the_cut_swallowed_is_given_all_the_same() -> None:
    service = FakeService(
        stream(SNAPSHOT, RUNNING, output(3, "a")), stream(SNAPSHOT, output(5, "b", 2), done(6, attempt=2))
    )

    async with service.client() as client:
        events = await collect(client.job("job_1").events())

    assert [type(event) for event in events] == [StatusEvent, OutputEvent, ResetEvent, OutputEvent, StatusEvent]


async def test_a_gap_that_comes_again_is_not_given_again() -> None:
    first = stream(SNAPSHOT, gap(), SNAPSHOT, is_cut=True)
    service = FakeService(first, stream(SNAPSHOT, gap(), output(50, "a"), done(60)))

    async with service.client() as client:
        events = await collect(client.job("job_1").events())

    assert [type(event) for event in events] == [GapEvent, OutputEvent, StatusEvent]


async def test_a_kind_of_event_that_is_not_known_is_passed_over() -> None:
    service = FakeService(stream(SNAPSHOT, frame("log", {"line": "x"}, 1), frame("message", 1), done(2)))

    async with service.client() as client:
        assert ids(await collect(client.job("job_1").events())) == [2]


async def test_an_outage_is_waited_out() -> None:
    service = FakeService(
        httpx.ConnectError("down"), stream(SNAPSHOT, QUEUED), *[page_of("gateway", 502)] * 9, stream(SNAPSHOT, done(2))
    )

    async with service.client() as client:
        assert ids(await collect(client.job("job_1").events())) == [1, 2]


@pytest.mark.parametrize("trouble", [httpx.ConnectError("down"), stream()], ids=["no connection", "empty streams"])
async def test_an_outage_that_stays_is_raised(trouble: Any) -> None:
    service = FakeService(lambda request: stream() if isinstance(trouble, httpx.Response) else _raise(trouble))

    async with service.client(reconnect_for=50) as client:
        with pytest.raises(ConnectionLost):
            await collect(client.job("job_1").events())

    assert 30 < service.timing.now <= 50


def _raise(error: Exception) -> httpx.Response:
    raise error


async def test_an_unknown_job_is_raised_at_once() -> None:
    service = FakeService(problem("job-not-found", 404))

    async with service.client() as client:
        with pytest.raises(UnknownJob):
            await collect(client.job("job_1").events())

    assert len(service.requests) == 1


@pytest.mark.parametrize(
    "answer", [page_of("hello", 200), stream(SNAPSHOT, frame("output", {"no": "event"}))], ids=repr
)
async def test_a_stream_of_something_else_is_told(answer: httpx.Response) -> None:
    async with FakeService(answer).client() as client:
        with pytest.raises(UnexpectedAnswer):
            await collect(client.job("job_1").events())


async def test_leaving_the_loop_closes_the_stream() -> None:
    answer = stream(SNAPSHOT, QUEUED, RUNNING)
    async with FakeService(answer).client() as client, contextlib.aclosing(client.job("job_1").events()) as events:
        assert ids([await anext(events)]) == [1]

    assert answer.is_closed


class Token(Struct):
    text: str


async def test_a_stream_yields_values() -> None:
    async with FakeService(stream(SNAPSHOT, RUNNING, output(3, "a"), progress(4, 0.5), done(6))).client() as client:
        assert [value async for value in client.job("job_1").stream()] == ["a"]


async def test_a_stream_yields_values_of_a_type() -> None:
    async with FakeService(stream(SNAPSHOT, RUNNING, output(3, {"text": "a"}), done(6))).client() as client:
        assert [value async for value in client.job("job_1").stream(type=Token)] == [Token("a")]


ENDINGS: list[tuple[list[bytes], type[Exception]]] = [
    ([output(3, "a"), reset(2), output(5, "a", 2)], StreamReset),
    ([gap(), output(3, "a")], JobExpired),
    ([output(3, "a"), done(4, "failed", error=failed_error())], JobFailed),
    ([done(4, "canceled")], JobCanceled),
]


@pytest.mark.parametrize(("parts", "error"), ENDINGS, ids=[error.__name__ for _, error in ENDINGS])
async def test_a_stream_ends_as_its_job_does(parts: list[bytes], error: type[Exception]) -> None:
    async with FakeService(stream(SNAPSHOT, RUNNING, *parts)).client() as client:
        with pytest.raises(error, match="job_1"):
            [value async for value in client.job("job_1").stream()]


async def test_a_reset_before_the_first_value_is_none_of_the_readers_business() -> None:
    parts = [reset(2), output(5, "a", 2), done(6, attempt=2)]

    async with FakeService(stream(SNAPSHOT, RUNNING, *parts)).client() as client:
        assert [value async for value in client.job("job_1").stream()] == ["a"]
