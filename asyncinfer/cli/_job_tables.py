"""Jobs for a person's eyes. What users wrote (labels, errors, results) is shown as text, never as markup."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from asyncinfer import Attempt, ProgressEvent, Status, StatusEvent
from asyncinfer.abc import StoredEvent
from asyncinfer.cli._job_json import instant
from asyncinfer.cli._seen import SeenJob, SeenWhole

STYLES: dict[Status, str] = {
    "queued": "cyan",
    "running": "yellow",
    "succeeded": "green",
    "failed": "red",
    "canceled": "magenta",
}
PIPE_WIDTH = 160
SHOWN_CHARACTERS = 2_000
"""Of a result or an output value; `--json` shows everything."""


def console() -> Console:
    """Return the console for what was asked for; into a pipe or a file lines are long, for programs cut nothing."""
    return Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def jobs_table(jobs: Sequence[SeenJob], now: int) -> Table:
    """Return one line a job; `now` is in milliseconds, for their age."""
    has_owners, has_queues = any(job.owner for job in jobs), any(job.queue for job in jobs)
    columns = ["id", *(["owner"] if has_owners else []), "model", *(["queue"] if has_queues else [])]
    table = table_of(*columns, "status", "attempt", "age")
    for job in jobs:
        table.add_row(
            Text(job.id),
            *([Text(job.owner or "")] if has_owners else []),
            Text(job.model),
            *([Text(job.queue or "")] if has_queues else []),
            Text(job.status if job.error is None else f"{job.status} ({job.error.code})", style=STYLES[job.status]),
            str(job.attempt),
            age((now - job.created_at) / 1000),
        )
    return table


def job_sheet(whole: SeenWhole) -> RenderableType:
    """Return all that is known of one job."""
    job, attempts, events, result, has_result = whole
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(job):
        facts.add_row(Text(name, style="dim"), value)
    if has_result:
        facts.add_row(Text("result", style="dim"), Text(shortened(repr(result))))
    parts: list[RenderableType] = [facts]
    if job.error is not None and job.error.traceback:
        parts += ["", Text(job.error.traceback.rstrip())]
    if attempts:
        parts += ["", attempts_table(attempts)]
    if events:
        parts += ["", events_table(events)]
    return Group(*parts)


def attempts_table(attempts: Iterable[Attempt]) -> Table:
    told = list(attempts)
    has_workers = any(attempt.worker for attempt in told)
    table = table_of("attempt", *(["worker"] if has_workers else []), "started", "ended", "outcome", "why")
    for attempt in told:
        table.add_row(
            str(attempt.number),
            *([Text(attempt.worker)] if has_workers else []),
            instant(attempt.started_at),
            instant(attempt.ended_at) or "",
            attempt.outcome or "running",
            Text("" if attempt.error is None else f"{attempt.error.code}: {attempt.error.message}"),
        )
    return table


def events_table(events: Iterable[StoredEvent]) -> Table:
    table = table_of("event", "attempt", "at", "what")
    for event in events:
        table.add_row(str(event.id), str(event.attempt), instant(event.at), Text(_told(event)))
    return table


def table_of(*columns: str) -> Table:
    """Return an empty table with the house's looks; its first column holds names, which are never cut."""
    table = Table(*columns, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, header_style="bold")
    table.columns[0].no_wrap = True
    return table


def age(seconds: float) -> str:
    """Return a duration as a person reads it: 12 s, 3 min, 5 h, 2 d."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def shortened(text: str) -> str:
    """Return at most SHOWN_CHARACTERS of a text."""
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}… ({len(text):,} characters)"


def _facts(job: SeenJob) -> Iterable[tuple[str, Text]]:
    yield "id", Text(job.id)
    yield "status", Text(job.status, style=STYLES[job.status])
    yield "model", Text(f"{job.model} (queue {job.queue})" if job.queue else job.model)
    if job.owner:
        yield "owner", Text(job.owner)
    yield "created", Text(instant(job.created_at) or "")
    for name, at in (("started", job.started_at), ("finished", job.finished_at), ("not before", job.not_before)):
        if at is not None:
            yield name, Text(instant(at) or "")
    budget = "" if job.crash_budget is None else f" of {job.crash_budget}"
    counters = f"failures {job.failures} of {job.max_attempts}, crashes {job.crashes}{budget}"
    yield "attempt", Text(f"{job.attempt} ({counters})")
    if job.worker:
        yield "worker", Text(job.worker)
    if job.progress is not None:
        yield "progress", Text(_progress(job.progress.fraction, job.progress.message))
    if job.error is not None:
        yield "error", Text(f"{job.error.code}: {job.error.message}", style="red")
    if job.labels:
        yield "labels", Text(", ".join(f"{name}={value}" for name, value in job.labels.items()))
    if job.retry_of:
        yield "retry of", Text(job.retry_of)


def _told(event: StoredEvent) -> str:
    if isinstance(event, StatusEvent):
        return event.status if event.error is None else f"{event.status} ({event.error.code}: {event.error.message})"
    if isinstance(event, ProgressEvent):
        return f"progress {_progress(event.progress.fraction, event.progress.message)}"
    return f"output {shortened(repr(event.value))}"


def _progress(fraction: float | None, message: str) -> str:
    return " ".join(part for part in ("" if fraction is None else f"{fraction:.0%}", message) if part)
