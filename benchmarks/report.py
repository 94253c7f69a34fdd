"""Figures as tables: Markdown that reads as plain text too, for the terminal and for README.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.goals import CPU, P50, RATE, REQUESTS, WEBHOOKS, Verdict, bare_route
from benchmarks.records import Figure, Runs, Spread

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

FLOORS = {
    "asyncinfer-memory": "floor-asyncio",
    "asyncinfer-sqlite": "floor-sqlite",
    "asyncinfer-memory-thread": "floor-threads",
    "asyncinfer-memory-process": "floor-processes",
}
"""Beside which floor a subject stands, in the workloads that have it."""
BATCHING = {
    RATE: "jobs/s",
    "padding_percent": "% padding",
    "batch_size": "jobs a call",
    P50: "p50 ms",
    "p95_ms": "p95 ms",
}
LATENCY = {P50: "p50 ms", "p95_ms": "p95 ms", "p99_ms": "p99 ms"}
KILLS = {"outcome_ms": "ms to its outcome", "free_ms": "to a free slot", "next_ms": "to the next result"}
LAG = {P50: "p50 ms", "p99_ms": "p99 ms", "max_ms": "max ms", "results_per_second": "results of 16 MiB/s"}


def tables(runs: Runs) -> list[str]:
    """Return one table for each kind of figure that was measured."""
    found = runs.workloads()
    kinds = [
        _throughput(runs, [name for name in found if name.startswith(("W1", "W3", "W5", "W7"))]),
        _by_metric(runs, [name for name in found if name == "W2"], LATENCY),
        _backlog(runs, [name for name in found if name.startswith("W6/")]),
        _serving(runs, [name for name in found if name == "W8"]),
        _delivering(runs, [name for name in found if name == "W9"]),
        _single(runs, [name for name in found if name.startswith(("executors/", "bind", "import"))]),
        _by_metric(runs, [name for name in found if name.startswith("batching/")], BATCHING),
        _by_metric(runs, [name for name in found if name == "kill"], KILLS),
        _by_metric(runs, [name for name in found if name == "lag"], LAG),
    ]
    return [table for table in kinds if table]


def goal_table(verdicts: Iterable[Verdict]) -> str:
    """Return the verdicts on what was measured."""
    measured = [verdict for verdict in verdicts if verdict.measured is not None]
    rows = [[verdict.text, verdict.bound, show(verdict.measured), verdict.verdict] for verdict in measured]
    return _table(["goal", "bound (stretch)", "measured", ""], rows)


def publish(text: str, plots: Sequence[Path]) -> None:
    """Put `text` and the plots between the markers of README.md."""
    images = "\n\n".join(f"![{plot.stem}]({plot.relative_to(README.parent).as_posix()})" for plot in plots)
    before, _, rest = README.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n\n{text}\n\n{images}\n\n{END}{after}")


def show(spread: Spread | None) -> str:
    """Write median (low-high), three digits each."""
    if spread is None:
        return ""
    return f"{_digits(spread.median)} ({_digits(spread.low)}-{_digits(spread.high)})"


def _throughput(runs: Runs, found: Sequence[str]) -> str:
    rows: list[list[str]] = []
    for workload in found:
        for subject in runs.subjects(workload):
            rate = Figure(workload, subject, RATE)
            floor = Figure(workload, FLOORS.get(subject, ""), RATE)
            cpu = runs.spread(Figure(workload, subject, CPU))
            rows.append([workload, subject, show(runs.spread(rate)), show(runs.ratio(rate, floor)), show(cpu)])
    return _table(["", "subject", "jobs/s (min-max)", "of its floor", "CPU s per 1,000 jobs"], rows)


def _by_metric(runs: Runs, found: Sequence[str], metrics: Mapping[str, str]) -> str:
    """Return a table with a column for each metric, under its heading."""
    rows = [
        [workload, subject, *(show(runs.spread(Figure(workload, subject, metric))) for metric in metrics)]
        for workload in found
        for subject in runs.subjects(workload)
    ]
    return _table(["", "subject", *metrics.values()], rows)


def _backlog(runs: Runs, found: Sequence[str]) -> str:
    metrics = ["submit_ms", "claim_ms", "bytes_per_job"]
    subjects = dict.fromkeys(subject for workload in found for subject in runs.subjects(workload))
    rows = [
        [
            f"{int(workload.removeprefix('W6/')):,}",
            subject,
            *(show(runs.spread(Figure(workload, subject, metric))) for metric in metrics),
        ]
        for subject in subjects
        for workload in found
    ]
    return _table(["W6: waiting", "subject", "submit ms", "claim to result ms", "bytes per waiting job"], rows)


def _serving(runs: Runs, found: Sequence[str]) -> str:
    rows: list[list[str]] = []
    for workload in found:
        for subject in runs.subjects(workload):
            rate = Figure(workload, subject, REQUESTS)
            floor = Figure(workload, bare_route(subject), REQUESTS)
            others = [show(runs.spread(Figure(workload, subject, name))) for name in ("server_cpu_ms", "lag_p99_ms")]
            rows.append([workload, subject, show(runs.spread(rate)), show(runs.ratio(rate, floor)), *others])
    head = ["", "subject", "requests/s (min-max)", "of the bare route", "server CPU ms a request", "loop lag p99 ms"]
    return _table(head, rows)


def _delivering(runs: Runs, found: Sequence[str]) -> str:
    rows: list[list[str]] = []
    for workload in found:
        for subject in runs.subjects(workload):
            rate = Figure(workload, subject, WEBHOOKS)
            floor = Figure(workload, f"floor-httpcore-{subject.rpartition('-')[2]}", WEBHOOKS)
            cpu = runs.spread(Figure(workload, subject, CPU))
            rows.append([workload, subject, show(runs.spread(rate)), show(runs.ratio(rate, floor)), show(cpu)])
    head = ["", "subject", "webhooks/s (min-max)", "of bare posts", "CPU s per 1,000 webhooks"]
    return _table(head, rows)


def _single(runs: Runs, found: Sequence[str]) -> str:
    rows = [
        [workload, subject, metric, show(runs.spread(Figure(workload, subject, metric)))]
        for workload in found
        for subject in runs.subjects(workload)
        for metric in runs.metrics(workload, subject)
        if metric in ("us", "ms")
    ]
    return _table(["", "what", "unit", "(min-max)"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with columns of even width, or nothing for no rows."""
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)


def _digits(value: float) -> str:
    """Write three significant digits, without an exponent."""
    if value >= 100:
        return f"{round(value, 3 - len(str(int(value)))):,.0f}"
    return f"{value:.3g}"
