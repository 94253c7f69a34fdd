"""What a scrape shows of a manager."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from asyncinfer import JobFailed, JobManager, Limits, QueueFull, QueueLimits, RetryPolicy, current_job, model
from asyncinfer.abc import ClaimRequest, ModelRoom
from asyncinfer.adapters.prometheus import PrometheusTelemetry
from asyncinfer.errors import Draining, MissingExtra, StoreUnavailable
from asyncinfer.testing import FaultyStore
from asyncinfer.testing.builders import new_job, request, room, success
from asyncinfer.testing.steps import accept, claim_one
from asyncinfer_memory import MemoryStore

LABELS = {"queue", "model", "outcome", "limit", "code", "call", "executor", "le"}


@model
async def echo(text: str) -> str:
    return text


@model(queue="slow", retry=RetryPolicy(max_attempts=2, initial_delay=0, max_delay=0))
async def fails_once(text: str) -> str:
    if current_job().attempt == 1:
        raise ConnectionError(text)
    return text


@model
async def fails(text: str) -> str:
    raise ValueError(text)


@model
async def waits_for_ever() -> None:
    await asyncio.Event().wait()


@pytest.fixture
def metrics() -> PrometheusTelemetry:
    return PrometheusTelemetry()


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as store:
        yield store


def value(metrics: PrometheusTelemetry, name: str, **labels: str) -> float | None:
    """Return a sample of the registry; None when there is none."""
    return metrics.registry.get_sample_value(f"asyncinfer_{name}", labels)


async def test_attempts_are_counted_by_how_they_ended(metrics: PrometheusTelemetry) -> None:
    async with JobManager("memory://", models=[echo, fails, fails_once], telemetry=metrics) as manager:
        for handle in await manager.submit_many([echo.bind(text) for text in "abc"]):
            await handle
        await (await manager.submit(fails_once, "hi"))
        with pytest.raises(JobFailed):
            await (await manager.submit(fails, "no"))

    of_echo, of_slow = {"queue": "default", "model": "echo"}, {"queue": "slow", "model": "fails_once"}
    of_fails = {"queue": "default", "model": "fails"}
    assert value(metrics, "jobs_submitted_total", **of_echo, outcome="inserted") == 3
    assert value(metrics, "attempts_started_total", **of_echo) == 3
    assert value(metrics, "attempts_ended_total", **of_echo, outcome="succeeded") == 3
    assert value(metrics, "attempts_started_total", **of_slow) == 2
    assert value(metrics, "attempts_ended_total", **of_slow, outcome="retried") == 1
    assert value(metrics, "attempts_ended_total", **of_slow, outcome="succeeded") == 1
    assert value(metrics, "attempts_ended_total", **of_fails, outcome="failed") == 1
    assert value(metrics, "attempt_errors_total", **of_fails, code="model_error") == 1
    assert value(metrics, "attempt_errors_total", **of_slow, code="model_error") == 1
    assert value(metrics, "queue_wait_seconds_count", **of_slow) == 2
    assert value(metrics, "run_duration_seconds_count", **of_slow) == 2


async def test_refusals_are_counted_by_their_limit(metrics: PrometheusTelemetry) -> None:
    full = Limits(queues={"default": QueueLimits(queued_jobs=0)})
    async with JobManager("memory://", models=[echo], telemetry=metrics, limits=full) as manager:
        with pytest.raises(QueueFull):
            await manager.submit(echo, "hi")
        await manager.drain(0)
        with pytest.raises(Draining):
            await manager.submit(echo, "hi")

    of_echo = {"queue": "default", "model": "echo"}
    assert value(metrics, "jobs_submitted_total", **of_echo, outcome="refused") == 2
    assert value(metrics, "jobs_refused_total", **of_echo, limit="queued_jobs") == 1
    assert value(metrics, "jobs_refused_total", **of_echo, limit="draining") == 1
    assert value(metrics, "jobs_submitted_total", **of_echo, outcome="inserted") is None


async def test_calls_of_the_store_are_measured_by_name(metrics: PrometheusTelemetry, store: MemoryStore) -> None:
    faulty = FaultyStore(store)
    async with JobManager(faulty, models=[echo], telemetry=metrics) as manager:
        faulty.fail("insert", StoreUnavailable("away"))
        with pytest.raises(StoreUnavailable):
            await manager.submit(echo, "hi")
        await (await manager.submit(echo, "hi"))

    assert value(metrics, "store_call_duration_seconds_count", call="insert") == 2
    assert value(metrics, "store_call_failures_total", call="insert") == 1
    assert value(metrics, "store_call_duration_seconds_count", call="finish") == 1
    assert value(metrics, "store_call_failures_total", call="finish") is None


async def test_rescues_and_lost_leases_are_counted(metrics: PrometheusTelemetry, store: MemoryStore) -> None:
    async with JobManager(store, models=[echo], run_jobs=False) as submitter:
        lost = await submitter.submit(echo, "hi")
    await store.claim([ClaimRequest("wrk_dead", 1, 1, (ModelRoom("echo", 1),))])
    async with JobManager(
        store, models=[echo, waits_for_ever], lease=0.05, telemetry=metrics, drain_grace=0
    ) as manager:
        await manager.handle(lost.id).result(timeout=20)
        handle = await manager.submit(waits_for_ever)
        await anext(event async for event in handle.events() if event.attempt == 1)
        await store.rescue(await store.leases(None, 10))
        await anext(event async for event in handle.events() if event.attempt == 2)

    assert value(metrics, "rescues_total", outcome="queued") == 1
    assert value(metrics, "leases_lost_total", queue="default", model="waits_for_ever") == 1


async def test_a_scrape_shows_where_the_jobs_stand(metrics: PrometheusTelemetry) -> None:
    async with JobManager("memory://", models=[echo, waits_for_ever], telemetry=metrics, drain_grace=0) as manager:
        handle = await manager.submit(waits_for_ever)
        await anext(event async for event in handle.events() if event.attempt == 1)
        await manager.submit_many([echo.options(delay=60).bind(text) for text in "ab"])
        await manager.pause("default")
        body, content_type = await metrics.render(manager)
        await manager.drain(0)
        await metrics.render(manager)

    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    queued = {sample.labels["model"]: sample.value for sample in families["asyncinfer_jobs_queued"].samples}
    (age,) = families["asyncinfer_oldest_queued_job_age_seconds"].samples
    (paused,) = families["asyncinfer_queue_paused"].samples
    (here,) = families["asyncinfer_attempts_running"].samples
    (ready,) = families["asyncinfer_ready"].samples
    assert queued == {"echo": 2, "waits_for_ever": 0}
    assert (age.labels, 0 <= age.value < 60) == ({"queue": "default", "model": "echo"}, True)
    assert (paused.labels, paused.value) == ({"queue": "default"}, 1)
    assert (here.value, ready.value) == (1, 1)
    assert content_type.startswith("text/plain; version=0.0.4")
    assert (value(metrics, "ready"), value(metrics, "attempts_running")) == (0, 0)


async def test_openmetrics_is_shown_to_who_asks_for_it(metrics: PrometheusTelemetry) -> None:
    async with JobManager("memory://", models=[echo], telemetry=metrics) as manager:
        body, content_type = await metrics.render(manager, "application/openmetrics-text;version=1.0.0")

    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_a_scrape_works_while_the_store_is_away(metrics: PrometheusTelemetry, store: MemoryStore) -> None:
    faulty = FaultyStore(store)
    async with JobManager(faulty, models=[echo], telemetry=metrics) as manager:
        await manager.submit(echo.options(delay=60), "later")
        await metrics.render(manager)
        faulty.fail("*", StoreUnavailable("away"), times=None)
        await metrics.render(manager)
        faulty.heal()

    assert value(metrics, "ready") == 0
    assert value(metrics, "jobs_queued", queue="default", model="echo") is None


async def test_a_metrics_adapter_may_be_added_to_an_open_manager(metrics: PrometheusTelemetry) -> None:
    async with JobManager("memory://", models=[echo]) as manager:
        manager.observe(metrics)
        await (await manager.submit(echo, "hi"))
        body, _ = await metrics.render(manager)

    assert b'asyncinfer_attempts_ended_total{model="echo",outcome="succeeded",queue="default"} 1.0' in body


async def test_no_label_shows_whose_a_job_is_or_what_is_in_it(metrics: PrometheusTelemetry) -> None:
    async with JobManager("memory://", models=[echo, fails], telemetry=metrics) as manager:
        owned = manager.scoped("secret-owner")
        named = echo.options(idempotency_key="secret-key", labels={"secret": "label"}, metadata="secret")
        await (await owned.submit(named, "secret-input"))
        with pytest.raises(JobFailed):
            await (await owned.submit(fails.options(job_id="secret-id"), "secret-input"))
        body, _ = await metrics.render(manager)

    assert b"secret" not in body
    assert set(re.findall(r'[{,]([a-z_]+)="', body.decode())) <= LABELS


async def test_models_that_nobody_has_published_share_one_label(
    metrics: PrometheusTelemetry, store: MemoryStore
) -> None:
    old = [new_job(model=f"nobodys-{number}", queue=f"nobodys-{number}") for number in range(3)]
    await accept(store, *old)
    for claim in [await claim_one(store, request(room(job.model), slots=1)) for job in old]:
        await store.finish([success(claim)])
    async with JobManager(store, models=[echo], telemetry=metrics) as manager:
        for job in old:
            await manager.scoped(job.owner).retry(job.id)
        body, _ = await metrics.render(manager)

    assert value(metrics, "jobs_submitted_total", queue="other", model="other", outcome="inserted") == 3
    assert value(metrics, "jobs_queued", queue="other", model="other") == 3
    assert b"nobodys" not in body


def test_a_missing_extra_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "asyncinfer.adapters.prometheus")

    with pytest.raises(MissingExtra, match=r"pip install 'asyncinfer\[http\]'"):
        importlib.import_module("asyncinfer.adapters.prometheus")


def test_two_adapters_need_two_registries() -> None:
    registry = CollectorRegistry()
    PrometheusTelemetry(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusTelemetry(registry)
