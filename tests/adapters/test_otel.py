"""The spans of a job's life, and what is current while its model runs."""

from __future__ import annotations

import asyncio
import importlib
import sys
import threading
from collections.abc import Sequence

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from asyncinfer import Batch, JobFailed, JobManager, Limits, QueueFull, RetryPolicy, current_job, model
from asyncinfer.adapters.otel import Tracing
from asyncinfer.errors import MissingExtra, StoreUnavailable
from asyncinfer.testing import FaultyStore
from asyncinfer_memory import MemoryStore

GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Spans:
    """A tracer and what it has exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("the model's own")
        self.tracing = Tracing(self.provider)

    def named(self, name: str) -> Sequence[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


def context_of(span: ReadableSpan) -> SpanContext:
    context: SpanContext | None = span.context
    assert context is not None
    return context


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    return span.parent is not None and (span.parent.trace_id, span.parent.span_id) == (
        context_of(parent).trace_id,
        context_of(parent).span_id,
    )


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


@model
async def echo(text: str) -> str:
    return text


@model(retry=RetryPolicy(max_attempts=2, initial_delay=0, max_delay=0))
async def fails_once(text: str) -> str:
    if current_job().attempt == 1:
        raise ConnectionError(text)
    return text


@model
async def fails(text: str) -> str:
    raise ValueError(text)


async def test_a_submit_is_a_producer_span_and_an_attempt_a_consumer_span(spans: Spans) -> None:
    async with JobManager("memory://", models=[echo], telemetry=spans.tracing) as manager:
        handle = await manager.submit(echo, "hi")
        await handle
        stored = await handle.job()

    submit, run = spans.one("submit default"), spans.one("run default")
    assert (submit.kind, run.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert attributes_of(submit) == {
        "messaging.system": "asyncinfer",
        "messaging.operation.name": "submit",
        "messaging.operation.type": "send",
        "messaging.destination.name": "default",
        "messaging.message.id": handle.id,
        "asyncinfer.model": "echo",
        "asyncinfer.outcome": "inserted",
    }
    assert attributes_of(run) == {
        "messaging.system": "asyncinfer",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": handle.id,
        "asyncinfer.model": "echo",
        "asyncinfer.attempt": 1,
        "asyncinfer.outcome": "succeeded",
    }
    created = context_of(submit)
    assert stored.traceparent is not None
    assert stored.traceparent[:-2] == f"00-{created.trace_id:032x}-{created.span_id:016x}-"
    assert is_child(run, submit)
    assert [link.context.span_id for link in run.links] == [created.span_id]
    assert (submit.status.status_code, run.status.status_code) == (StatusCode.UNSET, StatusCode.UNSET)


async def test_every_attempt_of_a_job_belongs_to_its_one_submit(spans: Spans) -> None:
    async with JobManager("memory://", models=[fails_once], telemetry=spans.tracing) as manager:
        await (await manager.submit(fails_once, "hi"))

    submit, (first, second) = spans.one("submit default"), spans.named("run default")
    assert is_child(first, submit)
    assert is_child(second, submit)
    assert [attributes_of(run)["asyncinfer.attempt"] for run in (first, second)] == [1, 2]
    assert [attributes_of(run)["asyncinfer.outcome"] for run in (first, second)] == ["retried", "succeeded"]
    assert attributes_of(first)["error.type"] == "ConnectionError"
    assert (first.status.status_code, second.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)


async def test_a_failure_shows_its_kind_and_none_of_its_text(spans: Spans) -> None:
    async with JobManager("memory://", models=[fails], telemetry=spans.tracing) as manager:
        with pytest.raises(JobFailed):
            await (await manager.scoped("the-owner").submit(fails, "the-secret"))

    run = spans.one("run default")
    attributes = attributes_of(run)
    assert (attributes["asyncinfer.error.code"], attributes["error.type"]) == ("model_error", "ValueError")
    assert (run.status.status_code, run.status.description, run.events) == (StatusCode.ERROR, None, ())
    exported = " ".join(span.to_json() for span in spans.exporter.get_finished_spans())
    assert "the-secret" not in exported
    assert "the-owner" not in exported


async def test_the_current_span_is_the_parent_of_a_submit(spans: Spans) -> None:
    async with JobManager("memory://", models=[echo], telemetry=spans.tracing) as manager:
        with spans.tracer.start_as_current_span("a request"):
            handle = await manager.submit(echo, "hi")
        await handle

    assert is_child(spans.one("submit default"), spans.one("a request"))


async def test_a_traceparent_that_the_submitter_gave_is_the_parent(spans: Spans) -> None:
    async with JobManager("memory://", models=[echo], telemetry=spans.tracing) as manager:
        handle = await manager.submit(echo.options(traceparent=GIVEN), "hi")
        await handle

    submit, run = spans.one("submit default"), spans.one("run default")
    assert submit.parent is not None
    assert f"{submit.parent.trace_id:032x}-{submit.parent.span_id:016x}" == GIVEN[3:-3]
    assert is_child(run, submit)


async def test_the_span_of_whoever_opened_the_manager_is_no_parent(spans: Spans) -> None:
    async with MemoryStore() as store:
        async with JobManager(store, models=[echo], run_jobs=False) as submitter:
            await submitter.submit(echo, "untraced")
        with spans.tracer.start_as_current_span("the start of the application"):
            async with JobManager(store, models=[echo], telemetry=spans.tracing) as manager:
                await (await manager.submit(echo.options(traceparent=GIVEN), "traced"))
                while len(spans.named("run default")) < 2:
                    await manager.counts()

    untraced, _ = sorted(spans.named("run default"), key=lambda span: span.parent is not None)
    assert (untraced.parent, untraced.links) == (None, ())


async def test_a_span_of_the_models_own_code_belongs_to_the_attempt(spans: Spans) -> None:
    @model
    async def on_the_loop() -> None:
        await asyncio.sleep(0)
        with spans.tracer.start_as_current_span("in a coroutine"):
            await asyncio.to_thread(spans.tracer.start_span("in its helper thread").end)

    @model(name="in_a_thread")
    def in_a_thread() -> str:
        with spans.tracer.start_as_current_span("in a thread"):
            return threading.current_thread().name

    async with JobManager("memory://", models=[on_the_loop, in_a_thread], telemetry=spans.tracing) as manager:
        await (await manager.submit(on_the_loop))
        assert (await (await manager.submit(in_a_thread))).startswith("asyncinfer-thread")

    runs = {attributes_of(run)["asyncinfer.model"]: run for run in spans.named("run default")}
    assert is_child(spans.one("in a coroutine"), runs["on_the_loop"])
    assert is_child(spans.one("in its helper thread"), spans.one("in a coroutine"))
    assert is_child(spans.one("in a thread"), runs["in_a_thread"])
    assert not trace.get_current_span().get_span_context().is_valid


async def test_the_code_of_a_batch_has_a_span_that_links_to_its_attempts(spans: Spans) -> None:
    class Doubles:
        async def predict_batch(self, items: list[int]) -> list[int]:
            with spans.tracer.start_as_current_span("in the batch"):
                return [2 * item for item in items]

    doubles = model(Doubles, name="doubles", batch=Batch(max_size=3))
    async with JobManager("memory://", models=[doubles], telemetry=spans.tracing) as manager:
        await manager.pause("default")
        handles = await manager.submit_many([doubles.bind(number) for number in range(3)])
        await manager.resume("default")
        for handle in handles:
            await handle

    batch, runs, submits = spans.one("run_batch default"), spans.named("run default"), spans.named("submit default")
    assert is_child(spans.one("in the batch"), batch)
    assert (batch.parent, attributes_of(batch)["messaging.batch.message_count"]) == (None, 3)
    assert {link.context.span_id for link in batch.links} == {context_of(run).span_id for run in runs}
    assert sorted(sum(is_child(run, submit) for run in runs) for submit in submits) == [1, 1, 1]


async def test_a_submit_that_is_not_accepted_is_an_error(spans: Spans) -> None:
    async with MemoryStore() as store:
        faulty = FaultyStore(store)
        async with JobManager(faulty, models=[echo], telemetry=spans.tracing, limits=Limits(queued_jobs=0)) as manager:
            with pytest.raises(QueueFull):
                await manager.submit(echo, "hi")
            faulty.fail("insert", StoreUnavailable("away"))
            with pytest.raises(StoreUnavailable):
                await manager.submit(echo, "hi")

    full, away = spans.named("submit default")
    assert [attributes_of(span)["error.type"] for span in (full, away)] == ["queued_jobs", "StoreUnavailable"]
    assert {span.status.status_code for span in (full, away)} == {StatusCode.ERROR}


async def test_a_job_that_is_known_already_is_named_by_the_submit_that_met_it(spans: Spans) -> None:
    async with JobManager("memory://", models=[echo], telemetry=spans.tracing) as manager:
        first = await manager.submit(echo.options(idempotency_key="k"), "hi")
        await manager.submit(echo.options(idempotency_key="k"), "hi")
        await first

    _, again = spans.named("submit default")
    assert attributes_of(again)["messaging.message.id"] == first.id
    assert attributes_of(again)["asyncinfer.outcome"] == "existing"


async def test_no_span_is_left_open(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asyncinfer._engine.CLOSE_SECONDS", 0.05)

    @model
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    async with MemoryStore() as store:
        faulty = FaultyStore(store)
        async with JobManager(faulty, models=[echo, waits_for_ever], telemetry=spans.tracing, drain_grace=0) as manager:
            failing = faulty.fail("finish", StoreUnavailable("away"), times=None)
            await manager.submit_many([waits_for_ever.bind()])
            await manager.submit(echo, "hi")
            await failing.reached.wait()

    outcomes = [attributes_of(run)["asyncinfer.outcome"] for run in spans.named("run default")]
    assert outcomes == ["unwritten", "unwritten"]
    assert vars(spans.tracing)["_attempts"] == vars(spans.tracing)["_submits"] == {}


async def test_without_an_sdk_nothing_is_kept_with_a_job() -> None:
    async with JobManager("memory://", models=[echo], telemetry=Tracing(trace.NoOpTracerProvider())) as manager:
        handle = await manager.submit(echo, "hi")
        assert await handle == "hi"
        assert (await handle.job()).traceparent is None


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    monkeypatch.delitem(sys.modules, "asyncinfer.adapters.otel")

    with pytest.raises(MissingExtra, match=r"pip install 'asyncinfer\[otel\]'"):
        importlib.import_module("asyncinfer.adapters.otel")
