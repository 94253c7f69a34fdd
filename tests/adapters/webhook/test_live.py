"""Live events: what is told of a job while it runs, when, and to whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from asyncinfer import (
    GapEvent,
    JobHandle,
    JobManager,
    OutputEvent,
    RetryPolicy,
    Subscription,
    current_job,
    model,
    wire,
)
from asyncinfer.abc import JobStore
from asyncinfer.adapters.webhook import WebhookSender, _live
from asyncinfer.adapters.webhook._live_lanes import Lane, Lanes, note
from asyncinfer.adapters.webhook._live_news import News, Subject, output_body
from asyncinfer.adapters.webhook._response import Response
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore
from tests.adapters.webhook.sending import (
    ANYWHERE,
    SECRET,
    URL,
    Bench,
    Kind,
    Receivers,
    Sent,
    open_store,
    status,
    verify,
)

LINKS = wire.JobLinks(self="", result="", events="", cancel="", retry="")
SUBJECT = Subject("job_1", "acts", 1, LINKS)
LIVE = ("job.started", "job.progress", "job.output")
EVERY = (*LIVE, "job.succeeded", "job.failed", "job.canceled")


class Stage:
    """Where a test tells its model what to do next."""

    steps: asyncio.Queue[str]

    def do(self, *steps: str) -> None:
        for step in steps:
            self.steps.put_nowait(step)


stage = Stage()


@model
async def acts(name: str) -> str:
    job = current_job()
    while (step := await stage.steps.get()) != "end":
        if step == "fail":
            raise ValueError(step)
        if step.startswith("at "):
            job.progress(float(step[3:]), f"at {step[3:]}")
        else:
            job.emit(step)
    return name


@pytest.fixture(params=["memory", "sqlite"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return cast("Kind", request.param)


@asynccontextmanager
async def watched(store: JobStore | None = None, clock: FakeClock | None = None) -> AsyncGenerator[Bench]:
    stage.steps = asyncio.Queue()
    clock = clock or FakeClock()
    receivers = Receivers(clock)
    async with (
        store or MemoryStore(clock=clock) as opened,
        JobManager(opened, models=[acts]) as manager,
        WebhookSender(manager, secret=SECRET, guard=ANYWHERE, transport=receivers) as sender,
    ):
        await asyncio.sleep(0)  # it watches now
        yield Bench(manager, sender, clock, receivers)


async def submit(b: Bench, *, events: tuple[str, ...] = LIVE, target: str = URL, **options: Any) -> JobHandle[str]:
    return await b.manager.submit(acts.options(webhook=Subscription(target, events), **options), "x")


async def until_told(b: Bench, count: int, *, of: str = "", step: float = 0.02) -> list[Sent]:
    def told() -> list[Sent]:
        return [one for one in b.receivers.sent if one.told["type"].startswith(of)]

    await b.until(lambda: len(told()) >= count, step=step)
    return told()


def types(b: Bench) -> list[str]:
    return [one.told["type"] for one in b.receivers.sent]


async def test_the_start_is_told_at_once_signed(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with watched(open_store(kind, tmp_path, clock), clock) as b:
        handle = await submit(b, labels={"a": "b"})
        (sent,) = await until_told(b, 1, step=0.0)

        verify(SECRET, sent)
        data = sent.told["data"]
        assert (sent.told["type"], sent.target, data["id"]) == ("job.started", URL, handle.id)
        assert (data["status"], data["attempt"], data["labels"], data["output"]) == ("running", 1, {"a": "b"}, None)
        assert (data["revision"], sent.at) == (2, b.clock.now())
        stage.do("end")
        await handle


async def test_an_attempt_that_runs_already_is_told_of_when_the_sender_begins() -> None:
    clock = FakeClock()
    receivers = Receivers(clock)
    stage.steps = asyncio.Queue()
    async with MemoryStore(clock=clock) as store, JobManager(store, models=[acts]) as manager:
        handle = await manager.submit(acts.options(webhook=Subscription(URL, LIVE)), "x")
        stage.do("early")
        for _ in range(10):
            await clock.advance(0.1)
            await asyncio.sleep(0.005)
        assert [event.id for event in (await manager.events(handle.id)).events] == [1, 2, 3]
        async with WebhookSender(manager, secret=SECRET, guard=ANYWHERE, transport=receivers) as sender:
            b = Bench(manager, sender, clock, receivers)
            await until_told(b, 2)
            stage.do("end")
            await handle

        assert types(b) == ["job.started", "job.output"]
        assert receivers.sent[1].told["data"]["output"] == ["early"]


async def test_progress_and_output_come_together_every_half_second(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with watched(open_store(kind, tmp_path, clock), clock) as b:
        handle = await submit(b)
        began = (await until_told(b, 1))[0].at
        for number in range(10):
            stage.do(f"at {number / 10}", f"value {number}")
            await b.pass_time(0.1, steps=4)
        await until_told(b, 5)
        stage.do("end")
        await handle
        await b.pass_time(1)

        for sent in b.receivers.sent:
            verify(SECRET, sent)
        assert len({sent.id for sent in b.receivers.sent}) == len(b.receivers.sent)
        outputs = [one.told["data"] for one in b.receivers.sent if one.told["type"] == "job.output"]
        assert [value for one in outputs for value in one["output"]] == [f"value {number}" for number in range(10)]
        assert [one["count"] for one in outputs] == [len(one["output"]) for one in outputs]
        assert 2 <= len(outputs) <= 4
        reports = [one for one in b.receivers.sent if one.told["type"] == "job.progress"]
        assert 2 <= len(reports) <= 4
        assert reports[-1].told["data"]["progress"]["message"] == "at 0.9"
        assert reports[0].at - began >= 500
        revisions = [one.told["data"]["revision"] for one in b.receivers.sent]
        assert len(set(revisions)) == len(revisions)


async def test_what_came_last_is_told_with_the_end_and_not_half_a_second_later(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with watched(open_store(kind, tmp_path, clock), clock) as b:
        handle = await submit(b, events=EVERY)
        await until_told(b, 1)
        stage.do("at 1.0", "last", "end")
        await b.pass_time(0.06, steps=2)
        await handle
        await b.until(lambda: len(types(b)) == 4, step=0.0)

        assert set(types(b)[1:]) == {"job.progress", "job.output", "job.succeeded"}


async def test_a_second_attempt_is_told_anew(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with watched(open_store(kind, tmp_path, clock), clock) as b:
        handle = await submit(b, retry=RetryPolicy(max_attempts=2, initial_delay=0.1, jitter=0))
        stage.do("first", "fail")
        await until_told(b, 1, of="job.output")
        await until_told(b, 2, of="job.started")
        stage.do("second", "end")
        await b.until(lambda: types(b).count("job.output") == 2)
        await handle

        told = [(one.told["type"], one.told["data"]["attempt"]) for one in b.receivers.sent]
        assert told == [("job.started", 1), ("job.output", 1), ("job.started", 2), ("job.output", 2)]
        assert b.receivers.sent[-1].told["data"]["output"] == ["second"]


async def test_what_was_not_asked_for_is_not_told() -> None:
    async with watched() as b:
        plain = await submit(b, events=("job.failed",))
        stage.do("at 0.5", "value", "end")
        await plain
        progress = await submit(b, events=("job.progress",))
        stage.do("at 0.5", "value", "end")
        await progress
        await b.pass_time(2)

        assert types(b) == ["job.progress"]
        assert await b.deliveries() == []


async def test_too_much_output_is_told_thin() -> None:
    async with watched() as b:
        handle = await submit(b, events=("job.output",))
        stage.do("a" * 15_000, "b" * 15_000)
        (sent,) = await until_told(b, 1)
        stage.do("c", "end")
        await handle
        (_, last) = await until_told(b, 2)

        assert len(sent.body) < 1_000
        assert sent.told["truncated"] is True
        data = sent.told["data"]
        assert (data["output"], data["count"], data["revision"] - data["first_revision"]) == ([], 2, 1)
        page = await b.manager.events(handle.id, after=data["first_revision"] - 1)
        assert [cast("Any", event).value[0] for event in page.events[:2]] == ["a", "b"]
        assert (last.told["data"]["output"], "truncated" in last.told) == (["c"], False)


async def test_values_of_any_number_are_counted_and_told_thin() -> None:
    async with watched() as b:
        handle = await submit(b, events=("job.output",))
        stage.do(*(["v"] * 9_000))
        await until_told(b, 1)
        stage.do("end")
        await handle
        await b.pass_time(1)

        assert all(len(one.body) <= 20_000 for one in b.receivers.sent)
        assert sum(one.told["data"]["count"] for one in b.receivers.sent) == 9_000


async def test_a_gap_in_the_history_makes_the_output_thin() -> None:
    news = News()
    news.add(GapEvent(4, 1, 0), LIVE)
    assert news.is_empty
    news.add(OutputEvent(9, 1, 7, b"\xa1a"), LIVE)

    assert news.output is not None
    told = msgspec.json.decode(await output_body(SUBJECT, news.output))

    assert (told["truncated"], told["data"]["output"], told["data"]["count"]) == (True, [], 1)
    assert (told["data"]["first_revision"], told["data"]["revision"]) == (5, 9)


async def test_a_slow_receiver_gets_one_post_at_a_time_with_more_in_it() -> None:
    async with watched() as b:
        slow = asyncio.Event()

        async def slowly(sent: Sent) -> Response:
            await slow.wait()
            return status(200)

        b.receivers.answer = slowly
        handle = await submit(b, events=("job.output",))
        for number in range(20):
            stage.do(f"value {number}")
            await b.pass_time(0.2, steps=2)
        assert types(b) == ["job.output"]
        slow.set()
        await b.pass_time(1)

        assert types(b) == ["job.output", "job.output"]
        assert sum(one.told["data"]["count"] for one in b.receivers.sent) == 20
        stage.do("end")
        await handle


async def test_a_dead_receiver_delays_no_job_no_ending_and_no_other_receiver(monkeypatch: pytest.MonkeyPatch) -> None:
    async with watched() as b:

        async def dead(sent: Sent) -> Response:
            await asyncio.Event().wait()
            raise AssertionError

        b.receivers.answer = lambda sent: dead(sent) if "dead" in sent.target else status(200)
        handles = [await submit(b, events=LIVE, target="https://dead.example.com/cb") for _ in range(20)]
        alive = await submit(b, events=EVERY)
        stage.do(*(["end"] * 21))
        await asyncio.wait_for(asyncio.gather(*handles, alive), 5)
        await b.until_they_are("delivered")

        assert [one.told["type"] for one in b.receivers.of(URL)] == ["job.started", "job.succeeded"]
        assert len(b.receivers.of("https://dead.example.com/cb")) == 8


async def test_what_cannot_be_posted_to_one_receiver_is_told_to_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """A transport of somebody's own that raised ended what every receiver of the job was told."""
    async with watched() as b:

        def broken(sent: Sent) -> Response:
            if "broken" in sent.target:
                raise LookupError("hush-hush")
            return status(200)

        b.receivers.answer = broken
        targets = ("https://broken.example.com/cb", URL)
        webhooks = [Subscription(target, LIVE) for target in targets]
        handle = await b.manager.submit(acts.options(webhook=webhooks), "x")
        stage.do("value")
        await b.pass_time(1)
        stage.do("end")
        await handle

        assert [one.told["type"] for one in b.receivers.of(URL)] == ["job.started", "job.output"]
        assert "job.started of job" in caplog.text
        assert "could not be posted: LookupError" in caplog.text
        assert "hush-hush" not in caplog.text


async def test_dead_receivers_however_many_leave_slots_to_the_living() -> None:
    lanes = Lanes()
    dead = [lanes.enter(("", f"https://{number}.example.com")) for number in range(20)]
    living = lanes.enter(("", URL))
    running: list[Lane] = []

    async def post(lane: Lane | None) -> None:
        assert lane is not None
        async with lanes.slot(lane):
            running.append(lane)
            await asyncio.Event().wait()

    for lane in dead:
        assert lane is not None
        note(lane, 0.0, is_delivered=False)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(post(lane)) for lane in (*dead * 4, living)]
        for _ in range(5):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()

    assert (len(running), living in running) == (9, True)


async def test_a_job_that_is_deleted_at_once_is_told_to_its_end(kind: Kind, tmp_path: Path) -> None:
    clock = FakeClock()
    async with watched(open_store(kind, tmp_path, clock), clock) as b:
        handle = await submit(b)
        await until_told(b, 1)
        stage.do("last", "end")
        await handle
        await b.manager.delete(handle.id)
        await b.pass_time(1)

        assert types(b) == ["job.started", "job.output"]


async def test_a_receiver_that_fails_is_left_alone_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    async with watched() as b:
        b.receivers.answer = lambda sent: status(500)
        for _ in range(9):
            handle = await submit(b, events=("job.started",))
            await b.pass_time(0.01, steps=2)
            stage.do("end")
            await handle
        assert types(b) == ["job.started"] * 5
        assert "is told no live events for 10 s" in caplog.text

        b.receivers.answer = lambda sent: status(200)
        await b.pass_time(11)
        for _ in range(2):
            handle = await submit(b, events=("job.started",))
            await b.pass_time(0.01, steps=2)
            stage.do("end")
            await handle
        assert types(b) == ["job.started"] * 7


async def test_an_endpoint_is_told_what_it_is_registered_for_now() -> None:
    async with watched() as b:
        endpoint = await b.sender.endpoints.register("", URL, events=("job.started", "job.output"))
        handle = await submit(b, target=endpoint.id)
        (started,) = await until_told(b, 1)
        verify(endpoint.secrets[0], started)
        stage.do("at 0.5", "first")
        await until_told(b, 2)
        await b.sender.endpoints.change("", endpoint.id, is_enabled=False)
        stage.do("second", "end")
        await handle
        await b.pass_time(2)

        assert types(b) == ["job.started", "job.output"]


async def test_an_endpoint_of_cloud_events_is_told_in_its_form_what_is_thin() -> None:
    async with watched() as b:
        endpoint = await b.sender.endpoints.register("", URL, events=LIVE, format="cloudevents-binary")
        handle = await submit(b, target=endpoint.id)
        stage.do("a" * 30_000, "end")
        await handle
        await b.pass_time(1)

        told = [(one.headers["ce-type"], one.headers.get("ce-truncated")) for one in b.receivers.sent]
        assert told == [("asyncinfer.job.started", None), ("asyncinfer.job.output", "true")]
        assert {one.headers["ce-subject"] for one in b.receivers.sent} == {handle.id}
        assert b.receivers.sent[1].told["count"] == 1


async def test_last_news_wait_for_a_slow_receiver_so_long_and_no_longer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(_live, "LINGER_SECONDS", 0.05)
    async with watched() as b:

        async def dead(sent: Sent) -> Response:
            await asyncio.Event().wait()
            raise AssertionError

        b.receivers.answer = dead
        handle = await submit(b)
        stage.do("value", "end")
        await handle
        await b.until(lambda: "are dropped" in caplog.text, step=0.0)

        assert types(b) == ["job.started"]
