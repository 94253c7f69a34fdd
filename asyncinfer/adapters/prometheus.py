"""Metrics for Prometheus. Needs the extra `http`.

metrics = PrometheusTelemetry()
async with JobManager("sqlite:///jobs.db", models=[caption], telemetry=metrics) as manager:
    body, content_type = await metrics.render(manager)

Names and units follow https://prometheus.io/docs/practices/naming/. Labels are `queue`, `model`, `outcome`, `limit`,
`code`, `call` and `executor`: never an owner, an id, a key, a URL or a text of anybody's, so their number is bounded. A
model that nobody has published, such as that of an old job that is retried, is counted as model and queue `other`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar, get_args

from asyncinfer import Counts, Health, JobManager
from asyncinfer.abc import Claim, EndedAttempt, ErrorCode, Rescued, Submitted, Telemetry
from asyncinfer.errors import MissingExtra, StoreError

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.exposition import choose_encoder
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] != "prometheus_client":
        raise
    raise MissingExtra(f"metrics need {_error.name}: pip install 'asyncinfer[http]'") from _error

__all__ = ["PrometheusTelemetry"]

K = TypeVar("K")
V = TypeVar("V")
OTHER = "other"
ERROR_CODES = frozenset(get_args(ErrorCode))
SECONDS_OF_JOBS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600,
)  # fmt: skip
"""Buckets for waits and runs."""
SECONDS_OF_CALLS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
"""Buckets for calls of the store."""


class PrometheusTelemetry(Telemetry):
    """Counts what one or several managers do, and shows it at `render`.

    `registry` is where the metrics are registered, by default one of its own: give `prometheus_client.REGISTRY` to show
    them beside the host's. A registry takes the names once. The gauges stand as they were at the last `render`.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry: CollectorRegistry = CollectorRegistry() if registry is None else registry
        self._counters()
        self._histograms()
        self._gauges()

    def _counters(self) -> None:
        model = ("queue", "model")
        self._submitted = _Counters(
            self._counter("jobs_submitted", "Submissions, by how they were answered.", *model, "outcome")
        )
        self._refused = _Counters(self._counter("jobs_refused", "Submissions that a limit refused.", *model, "limit"))
        self._started = _Counters(self._counter("attempts_started", "Attempts claimed by this process.", *model))
        self._ended = _Counters(
            self._counter("attempts_ended", "Attempts of this process, by how they ended.", *model, "outcome")
        )
        self._errors = _Counters(
            self._counter("attempt_errors", "Attempts that failed or are retried, by error code.", *model, "code")
        )
        self._leases_lost = _Counters(self._counter("leases_lost", "Attempts that lost their lease.", *model))
        self._rescues = _Counters(
            self._counter("rescues", "Attempts of lost workers taken back here, by what became of the job.", "outcome")
        )
        self._store_failures = _Counters(
            self._counter("store_call_failures", "Calls of the store that failed.", "call")
        )

    def _histograms(self) -> None:
        waits = self._histogram("queue_wait", "From ready to claimed.", SECONDS_OF_JOBS, "queue", "model")
        runs = self._histogram("run_duration", "From claimed to returned.", SECONDS_OF_JOBS, "queue", "model")
        calls = self._histogram("store_call_duration", "Calls of the store.", SECONDS_OF_CALLS, "call")
        self._waits: _Children[tuple[str, str], Histogram] = _Children(lambda key: waits.labels(*key))
        self._runs: _Children[tuple[str, str], Histogram] = _Children(lambda key: runs.labels(*key))
        self._calls: _Children[str, Histogram] = _Children(calls.labels)

    def _gauges(self) -> None:
        self._queued = self._gauge("jobs_queued", "Jobs that wait, in the whole store.", "queue", "model")
        self._running = self._gauge("jobs_running", "Jobs that run, in the whole store.", "queue", "model")
        self._oldest = self._gauge(
            "oldest_queued_job_age_seconds", "Age of the oldest job that waits.", "queue", "model"
        )
        self._paused = self._gauge("queue_paused", "1 while the queue is paused.", "queue")
        self._attempts = self._gauge("attempts_running", "Attempts that run in this process.")
        self._abandoned = self._gauge(
            "abandoned_slots", "Slots taken by code that goes on although its job has ended.", "executor"
        )
        self._ready = self._gauge("ready", "1 while this process accepts and runs jobs.")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace="asyncinfer", registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(
            name, text, labels, namespace="asyncinfer", unit="seconds", buckets=buckets, registry=self.registry
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace="asyncinfer", registry=self.registry)

    # What a manager tells

    def submitted(self, submits: Sequence[Submitted]) -> None:
        self._submitted.add((*_place(one), _answer_of(one)) for one in submits)
        self._refused.add((*_place(one), one.limit) for one in submits if one.limit)

    def claimed(self, claims: Sequence[Claim]) -> None:
        self._started.add((claim.queue, claim.model) for claim in claims)
        for claim in claims:
            if claim.ready_at is not None:
                self._waits[claim.queue, claim.model].observe(max(0, claim.claimed_at - claim.ready_at) / 1000)

    def ended(self, attempts: Sequence[EndedAttempt]) -> None:
        self._ended.add((one.claim.queue, one.claim.model, one.outcome) for one in attempts)
        for one in attempts:
            place = (one.claim.queue, one.claim.model)
            self._runs[place].observe(one.run_seconds)
            if one.error is not None:
                self._errors.add([(*place, one.error.code if one.error.code in ERROR_CODES else OTHER)])
            if one.outcome == "lease_lost":
                self._leases_lost.add([place])

    def rescued(self, rescues: Sequence[Rescued]) -> None:
        self._rescues.add((rescue.answer,) for rescue in rescues)

    def store_called(self, call: str, seconds: float, error: BaseException | None) -> None:
        self._calls[call].observe(seconds)
        if isinstance(error, Exception):  # who was cancelled has not been failed by the store
            self._store_failures.add([(call,)])

    # What a scrape shows

    async def render(self, manager: JobManager, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics as they stand, and their content type; OpenMetrics where `accept`, the header, asks so.

        Asks the store once for its counts and once for the manager's health. While it is away `asyncinfer_ready` is 0
        and the gauges of its jobs are absent.
        """
        # At once: of a store that is late only one deadline has to pass, and a scrape has one too.
        health, counts = await asyncio.gather(manager.health(), _counts_of(manager))
        self._show_health(health)
        self._show_counts(counts, {model.name: model.queue for model in manager.models()})
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    # No await from here on, so that no other scrape sees the gauges half set.

    def _show_health(self, health: Health) -> None:
        self._ready.set(health.is_ready)
        self._attempts.set(health.running)
        self._abandoned.clear()
        for executor, count in health.abandoned.items():
            self._abandoned.labels(executor).set(count)

    def _show_counts(self, counts: Sequence[Counts], queues: Mapping[str, str]) -> None:
        for gauge in (self._queued, self._running, self._oldest, self._paused):
            gauge.clear()
        now, oldest = time.time(), dict[tuple[str, str], float]()
        for one in counts:
            place = (one.queue, one.model) if one.model in queues else (OTHER, OTHER)
            if one.model:
                self._queued.labels(*place).inc(one.queued)
                self._running.labels(*place).inc(one.running)
            if one.oldest_queued_at is not None:
                oldest[place] = max(oldest.get(place, 0.0), now - one.oldest_queued_at / 1000)
            if one.is_paused:
                self._paused.labels(one.queue if one.queue in queues.values() else OTHER).set(1)
        for place, seconds in oldest.items():
            self._oldest.labels(*place).set(seconds)


async def _counts_of(manager: JobManager) -> Sequence[Counts]:
    try:
        return await manager.counts()
    except StoreError:
        return ()


class _Children(dict[K, V]):
    """The metrics of each set of labels: looking one up here takes a tenth of what `labels` takes."""

    def __init__(self, make: Callable[[K], V]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: K) -> V:
        self[key] = made = self._make(key)
        return made


class _Counters:
    """A counter with labels."""

    def __init__(self, counter: Counter) -> None:
        self._children: _Children[tuple[str, ...], Counter] = _Children(lambda key: counter.labels(*key))

    def add(self, keys: Iterable[tuple[str, ...]]) -> None:
        """Count one for each key, at once for those that are equal."""
        for key, count in Tally(keys).items():
            self._children[key].inc(count)


def _place(one: Submitted) -> tuple[str, str]:
    return (one.job.queue, one.job.model) if one.is_known else (OTHER, OTHER)


def _answer_of(one: Submitted) -> str:
    if one.limit:
        return "refused"
    return "failed" if one.answer is None else one.answer.kind
