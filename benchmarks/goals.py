"""What the library sets out to reach, and whether a run reached it. A missed goal is printed; it fails nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from benchmarks.records import Figure, Runs, Spread

RATE, CPU, P50 = "jobs_per_second", "cpu_seconds_per_1000", "p50_ms"
REQUESTS, WEBHOOKS = "requests_per_second", "webhooks_per_second"
MEMORY, SQLITE = "asyncinfer-memory", "asyncinfer-sqlite"


class Goal(Struct, frozen=True, kw_only=True):
    """A bound on a figure, or on its ratio to `over` in the same rounds."""

    text: str
    figure: Figure
    over: Figure | None = None
    at_least: float | None = None
    at_most: float | None = None
    stretch: float | None = None


class Verdict(Struct, frozen=True, kw_only=True, tag="goal", tag_field="kind"):
    """A goal beside what was measured; the median decides."""

    text: str
    bound: str
    measured: Spread | None
    verdict: Literal["met", "met, stretch too", "missed", "not run"]


def goals(waiting: Sequence[int]) -> list[Goal]:
    """`waiting`: the backlogs of W6 that were measured, smallest first."""
    return [
        Goal(
            text="memory W1, of floor-asyncio",
            figure=Figure("W1", MEMORY, RATE),
            over=Figure("W1", "floor-asyncio", RATE),
            at_least=0.25,
            stretch=0.4,
        ),
        Goal(
            text="SQLite W1, of floor-sqlite",
            figure=Figure("W1", SQLITE, RATE),
            over=Figure("W1", "floor-sqlite", RATE),
            at_least=0.2,
            stretch=0.3,
        ),
        Goal(text="SQLite W1, CPU s per 1,000 jobs", figure=Figure("W1", SQLITE, CPU), at_most=0.1),
        Goal(text="memory W2, p50 ms", figure=Figure("W2", MEMORY, P50), at_most=0.15),
        Goal(text="SQLite W2, p50 ms", figure=Figure("W2", SQLITE, P50), at_most=2.0),
        Goal(text="memory W3, of the ideal time", figure=Figure("W3", MEMORY, "over_ideal"), at_most=1.1),
        Goal(text="SQLite W3, of the ideal time", figure=Figure("W3", SQLITE, "over_ideal"), at_most=1.1),
        Goal(
            text="memory W5, of floor-asyncio",
            figure=Figure("W5", MEMORY, RATE),
            over=Figure("W5", "floor-asyncio", RATE),
            at_least=0.5,
        ),
        Goal(
            text="SQLite W5, of floor-sqlite",
            figure=Figure("W5", SQLITE, RATE),
            over=Figure("W5", "floor-sqlite", RATE),
            at_least=0.5,
        ),
        *_backlog_goals(MEMORY, waiting, slower=1.2, bytes_per_job=2048),
        *_backlog_goals(SQLITE, waiting, slower=1.5, bytes_per_job=512),
        Goal(
            text="thread executor under backlog, us a call",
            figure=Figure("executors/thread/1000", "thread executor", "us"),
            at_most=20.0,
        ),
        Goal(
            text="process executor, a no-op one at a time, us",
            figure=Figure("executors/process/1", "process executor", "us"),
            at_most=200.0,
        ),
        *(
            Goal(
                text=f"process executor, 16 MiB of {what} in and out, ms",
                figure=Figure(f"executors/process/16MiB-{what}", "process executor", "ms"),
                at_most=45.0,
            )
            for what in ("bytes", "array")
        ),
        Goal(
            text="hard cancel of a process, ms until its slot is free",
            figure=Figure("kill", "no spare", "free_ms"),
            at_most=300.0,
        ),
        Goal(
            text="busy processes and 16 MiB results, loop lag p99 ms",
            figure=Figure("lag", "process", "p99_ms"),
            at_most=20.0,
        ),
        *_serving_goals(MEMORY, of_bare=0.6),
        *_serving_goals(SQLITE, of_bare=0.4),
        Goal(text="bind of a small input, us", figure=Figure("bind", "bind", "us"), at_most=3.0),
        Goal(
            text="bind of a small input, of encoding it",
            figure=Figure("bind", "bind", "us"),
            over=Figure("bind", "encode", "us"),
            at_most=10.0,
        ),
        Goal(
            text="import asyncinfer, of its parts",
            figure=Figure("import", "asyncinfer", "ms"),
            over=Figure("import", "anyio + msgspec + asyncio", "ms"),
            at_most=1.5,
        ),
        Goal(text="modules that import must not load", figure=Figure("import", "asyncinfer", "unwanted"), at_most=0),
    ]


def judge(goal: Goal, runs: Runs) -> Verdict:
    measured = runs.spread(goal.figure) if goal.over is None else runs.ratio(goal.figure, goal.over)
    return Verdict(text=goal.text, bound=_bound(goal), measured=measured, verdict=_verdict(goal, measured))


def _backlog_goals(subject: str, waiting: Sequence[int], *, slower: float, bytes_per_job: int) -> list[Goal]:
    waiting = waiting or (1_000, 1_000_000)
    few, many = (f"W6/{waiting[0]}", f"W6/{waiting[-1]}")
    sizes = f"{waiting[-1]:,} waiting of {waiting[0]:,}"
    store = subject.removeprefix("asyncinfer-").replace("sqlite", "SQLite")
    return [
        *(
            Goal(
                text=f"{store} W6, {what}, {sizes}",
                figure=Figure(many, subject, metric),
                over=Figure(few, subject, metric),
                at_most=slower,
            )
            for what, metric in (("submit", "submit_ms"), ("claim to result", "claim_ms"))
        ),
        Goal(
            text=f"{store} W6, bytes per waiting job",
            figure=Figure(many, subject, "bytes_per_job"),
            at_most=bytes_per_job,
        ),
    ]


def bare_route(subject: str) -> str:
    """Return the floor that stands in the same server of W8."""
    return f"floor-starlette-{subject.split('-')[1]}"


def _serving_goals(subject: str, *, of_bare: float) -> list[Goal]:
    store = subject.removeprefix("asyncinfer-").replace("sqlite", "SQLite")
    return [
        Goal(
            text=f"{store} W8, submits, of the bare route",
            figure=Figure("W8", subject, REQUESTS),
            over=Figure("W8", bare_route(subject), REQUESTS),
            at_least=of_bare,
        ),
        Goal(text=f"{store} W8, loop lag p99 ms", figure=Figure("W8", subject, "lag_p99_ms"), at_most=20.0),
        Goal(
            text=f"{store} W8, server CPU ms of submit and result",
            figure=Figure("W8", f"{subject}-result", "server_cpu_ms"),
            at_most=1.9,
        ),
    ]


def _bound(goal: Goal) -> str:
    stretch = "" if goal.stretch is None else f" ({goal.stretch:g})"
    return f">= {goal.at_least:g}{stretch}" if goal.at_least is not None else f"<= {goal.at_most:g}{stretch}"


def _verdict(goal: Goal, measured: Spread | None) -> Literal["met", "met, stretch too", "missed", "not run"]:
    if measured is None:
        return "not run"
    if goal.at_least is not None and measured.median < goal.at_least:
        return "missed"
    if goal.at_most is not None and measured.median > goal.at_most:
        return "missed"
    return "met, stretch too" if goal.stretch is not None and measured.median >= goal.stretch else "met"
