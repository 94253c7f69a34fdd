"""Traces for OpenTelemetry. Needs the extra `otel`.

async with JobManager("sqlite:///jobs.db", models=[caption], telemetry=Tracing()) as manager: ...

The spans follow the semantic conventions for messaging
(https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/): a queue is the destination, a job the message.

A submit is a PRODUCER span. Its context is the job's creation context, kept with the job as `traceparent`; the current
span is its parent, or the `traceparent` that the submitter gave, which in an HTTP service is its caller's.

An attempt is a CONSUMER span. By the conventions it links to the creation context; that of a job whose attempts run
alone is its parent as well, so that one trace tells the whole life of a job, of each attempt, on whatever machine.
A batch runs once for jobs of many traces, and a span has one parent: so the code of a batch has a span of its own,
which links to the attempt of each job, and those stay in their jobs' traces.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager

from asyncinfer.abc import Claim, EndedAttempt, NewJob, Submitted, Telemetry
from asyncinfer.errors import MissingExtra

try:
    from opentelemetry.context import Context
    from opentelemetry.trace import (
        Link,
        Span,
        SpanKind,
        StatusCode,
        TracerProvider,
        get_current_span,
        get_tracer,
        set_span_in_context,
        use_span,
    )
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] != "opentelemetry":
        raise
    raise MissingExtra(f"tracing needs {_error.name}: pip install 'asyncinfer[otel]'") from _error

__all__ = ["Tracing"]

_W3C = TraceContextTextMapPropagator()
_HARMLESS = frozenset({"succeeded", "canceled", "given_back"})


class Tracing(Telemetry):
    """Makes a span of every submit and every attempt; the attempt's is current while the model's code runs.

    That holds on the loop and in threads of this process; other executors do not carry it. Spans tell the queue, the
    model, the job's id, the attempt, the outcome, the error's code and the class of the exception: never an input, a
    result, an owner, or the text of an exception. `tracer_provider` is the global one by default.
    """

    def __init__(self, tracer_provider: TracerProvider | None = None) -> None:
        self._tracer = get_tracer("asyncinfer", tracer_provider=tracer_provider)
        self._submits: dict[tuple[str, str], list[Span]] = {}
        """More than one while an id is submitted again before its first submit is answered."""
        self._attempts: dict[tuple[str, str, int], Span] = {}

    # Submits

    def submitting(self, jobs: Sequence[NewJob]) -> Sequence[str | None]:
        return [self._begin_submit(job) for job in jobs]

    def submitted(self, submits: Sequence[Submitted]) -> None:
        for one in submits:
            spans = self._submits.get((one.job.owner, one.job.id))
            if spans:  # none for a submit that began before this watched
                _end_submit(spans.pop(0), one)
                if not spans:
                    del self._submits[one.job.owner, one.job.id]

    def _begin_submit(self, job: NewJob) -> str | None:
        span = self._tracer.start_span(
            f"submit {job.queue}",
            None if job.traceparent is None else _context_of(job.traceparent),
            SpanKind.PRODUCER,
            _attributes("submit", "send", job.queue, job.model, job.id),
        )
        self._submits.setdefault((job.owner, job.id), []).append(span)
        return _traceparent_of(span)

    # Attempts

    def claimed(self, claims: Sequence[Claim]) -> None:
        for claim in claims:
            # An empty context else: the current span would be that of whoever opened the manager.
            context = Context() if claim.traceparent is None else _context_of(claim.traceparent)
            created = get_current_span(context).get_span_context()
            self._attempts[_key(claim)] = self._tracer.start_span(
                f"run {claim.queue}",
                context,
                SpanKind.CONSUMER,
                {
                    **_attributes("run", "process", claim.queue, claim.model, claim.id),
                    "asyncinfer.attempt": claim.attempt,
                },
                [Link(created)] if created.is_valid else [],
            )

    def running(self, claims: Sequence[Claim]) -> AbstractContextManager[object] | None:
        spans = [self._attempts[_key(claim)] for claim in claims if _key(claim) in self._attempts]
        if not spans:
            return None
        if len(claims) > 1:
            return self._batch(claims[0], spans)
        return use_span(spans[0], record_exception=False, set_status_on_exception=False)

    def ended(self, attempts: Sequence[EndedAttempt]) -> None:
        for one in attempts:
            span = self._attempts.pop(_key(one.claim), None)
            if span is not None:
                _end_attempt(span, one)

    @contextmanager
    def _batch(self, claim: Claim, spans: Sequence[Span]) -> Generator[None]:
        attributes = _attributes("run_batch", "process", claim.queue, claim.model)
        with self._tracer.start_as_current_span(
            f"run_batch {claim.queue}",
            Context(),
            SpanKind.CONSUMER,
            {**attributes, "messaging.batch.message_count": len(spans)},
            [Link(span.get_span_context()) for span in spans],
            record_exception=False,
            set_status_on_exception=False,
        ):
            yield


def _attributes(name: str, kind: str, queue: str, model: str, job_id: str = "") -> dict[str, str | int]:
    """Return what the conventions ask for, and the model."""
    attributes: dict[str, str | int] = {
        "messaging.system": "asyncinfer",
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": queue,
        "asyncinfer.model": model,
    }
    return {**attributes, "messaging.message.id": job_id} if job_id else attributes


def _end_submit(span: Span, one: Submitted) -> None:
    answer = one.answer
    if answer is None:
        _fail(span, one.limit or type(one.error).__name__)
    elif answer.kind in ("inserted", "existing"):
        span.set_attribute("messaging.message.id", answer.id)
        span.set_attribute("asyncinfer.outcome", answer.kind)
    else:
        _fail(span, answer.limit or answer.kind)
    span.end()


def _end_attempt(span: Span, one: EndedAttempt) -> None:
    span.set_attribute("asyncinfer.outcome", one.outcome)
    if one.error is not None:
        span.set_attribute("asyncinfer.error.code", one.error.code)
    if one.outcome not in _HARMLESS:
        _fail(span, one.outcome if one.error is None else one.error.type or one.error.code)
    span.end()


def _fail(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def _key(claim: Claim) -> tuple[str, str, int]:
    return claim.owner, claim.id, claim.attempt


def _context_of(traceparent: str) -> Context:
    return _W3C.extract({"traceparent": traceparent}, Context())


def _traceparent_of(span: Span) -> str | None:
    """Return the span's context as the W3C writes it, or None where no SDK makes spans."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, set_span_in_context(span))
    return carrier.get("traceparent")
