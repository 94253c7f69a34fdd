"""What a run leaves behind, and how several runs of one thing become a figure."""

from __future__ import annotations

import statistics
from collections.abc import Awaitable, Callable, Iterable, Iterator

from msgspec import Struct

Metrics = dict[str, float]
"""Measured values by name; the name ends in its unit: jobs_per_second, p50_ms, cpu_seconds_per_1000, bytes_per_job."""
Measures = dict[str, Callable[[], Awaitable[Metrics]]]
"""What makes one run of a subject, by subject."""


class Run(Struct, frozen=True, kw_only=True, tag="run", tag_field="kind"):
    """One subject, once through one workload. Runs of the same round lie beside each other in time."""

    workload: str
    subject: str
    round: int
    metrics: Metrics


class Spread(Struct, frozen=True):
    """A figure as it is reported: the median of the rounds, and the extremes."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        ordered = sorted(values)
        return cls(statistics.median(ordered), ordered[0], ordered[-1]) if ordered else None


class Figure(Struct, frozen=True):
    """Names one measured value."""

    workload: str
    subject: str
    metric: str


class Runs:
    """Every run of one call of the benchmark."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._runs = list(runs)
        self.failures: list[str] = []
        """What was to be measured, and raised instead."""

    def add(self, run: Run) -> None:
        self._runs.append(run)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def workloads(self) -> list[str]:
        return list(dict.fromkeys(run.workload for run in self._runs))

    def subjects(self, workload: str) -> list[str]:
        return list(dict.fromkeys(run.subject for run in self._runs if run.workload == workload))

    def metrics(self, workload: str, subject: str) -> list[str]:
        mine = (run for run in self._runs if (run.workload, run.subject) == (workload, subject))
        return list(dict.fromkeys(name for run in mine for name in run.metrics))

    def spread(self, figure: Figure) -> Spread | None:
        return Spread.of(self._by_round(figure).values())

    def ratio(self, figure: Figure, over: Figure) -> Spread | None:
        """Divide round by round, so that what slows a whole round down cancels out."""
        above, below = self._by_round(figure), self._by_round(over)
        return Spread.of(above[number] / below[number] for number in above.keys() & below.keys() if below[number])

    def _by_round(self, figure: Figure) -> dict[int, float]:
        return {
            run.round: run.metrics[figure.metric]
            for run in self._runs
            if (run.workload, run.subject) == (figure.workload, figure.subject) and figure.metric in run.metrics
        }
