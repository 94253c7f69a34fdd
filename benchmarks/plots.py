"""The plots that README.md shows: one SVG a question. Imported after the runs, since matplotlib starts threads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure as Canvas

from benchmarks.goals import CPU, P50, RATE
from benchmarks.records import Figure, Runs, Spread
from benchmarks.report import FLOORS

PLOTS = Path(__file__).parent / "plots"
OURS, FLOOR, WHISKER = "#2563eb", "#9ca3af", "#1f2937"
COLORS = {"asyncinfer-memory": OURS, "asyncinfer-sqlite": "#d97706"}


def draw(runs: Runs) -> list[Path]:
    """Draw what was measured; return the files."""
    found = runs.workloads()
    waiting = sorted(int(name.removeprefix("W6/")) for name in found if name.startswith("W6/"))
    files: list[Path] = []
    if "W1" in found:
        files.append(_bars(runs, ["W1", "W1b"], RATE, "jobs per second", PLOTS / "throughput.svg"))
        files.append(_bars(runs, ["W1", "W1b"], CPU, "CPU seconds per 1,000 jobs", PLOTS / "cpu.svg"))
    if "W2" in found:
        files.append(_bars(runs, ["W2"], P50, "ms from submit to result, one at a time (p50)", PLOTS / "latency.svg"))
    if len(waiting) > 1:
        files.append(_backlogs(runs, waiting, PLOTS / "backlog.svg"))
    if "batching/backlog" in found:
        label = "jobs per second of a model whose batches are padded"
        files.append(_bars(runs, ["batching/backlog"], RATE, label, PLOTS / "batching.svg"))
        loads = [name for name in found if name.startswith("batching/") and name != "batching/backlog"]
        files.append(_bars(runs, loads, "p95_ms", "ms from submit to result (p95)", PLOTS / "batching-wait.svg"))
    if "kill" in found:
        label = "ms from the hard cancel of a process to the next result"
        files.append(_bars(runs, ["kill"], "next_ms", label, PLOTS / "kill.svg"))
    if "lag" in found:
        files.append(_bars(runs, ["lag"], "p99_ms", "ms that the event loop is late (p99)", PLOTS / "lag.svg"))
    return files


def _bars(runs: Runs, workloads: Sequence[str], metric: str, label: str, path: Path) -> Path:
    """Draw a bar for each subject, the extremes as whiskers, and say what share of its floor it is."""
    figures = [Figure(name, subject, metric) for name in workloads for subject in runs.subjects(name)]
    measured = [(figure, spread) for figure in figures if (spread := runs.spread(figure)) is not None]
    canvas = _canvas(0.8 + 0.36 * len(measured))
    axes = canvas.add_subplot()
    for row, (figure, spread) in enumerate(measured):
        color = FLOOR if figure.subject.startswith("floor") else OURS
        axes.barh(row, spread.median, color=color, xerr=_whiskers([spread]), ecolor=WHISKER, capsize=3)
        axes.annotate(
            _caption(runs, figure, spread), (spread.high, row), xytext=(6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(measured)), [f"{figure.workload}  {figure.subject}" for figure, _ in measured])
    axes.invert_yaxis()
    axes.set_xlim(0, max(spread.high for _, spread in measured) * 1.35)
    axes.set_xlabel(label)
    return _save(canvas, axes, path)


def _caption(runs: Runs, figure: Figure, spread: Spread) -> str:
    value = f"{spread.median:,.0f}" if spread.median >= 100 else f"{spread.median:.3g}"
    over = runs.ratio(figure, Figure(figure.workload, FLOORS.get(figure.subject, ""), figure.metric))
    return value if over is None else f"{value} ({over.median:.2g} x {FLOORS[figure.subject]})"


def _backlogs(runs: Runs, waiting: Sequence[int], path: Path) -> Path:
    """Draw what a submit and a claim with its result cost over the number of waiting jobs."""
    canvas = _canvas(3.6)
    axes = canvas.add_subplot()
    for subject in runs.subjects(f"W6/{waiting[0]}"):
        for metric, what, style in (("submit_ms", "submit", "o-"), ("claim_ms", "claim to result", "s--")):
            spreads = [runs.spread(Figure(f"W6/{number}", subject, metric)) for number in waiting]
            shown = [spread for spread in spreads if spread is not None]
            axes.errorbar(
                waiting[: len(shown)],
                [spread.median for spread in shown],
                yerr=_whiskers(shown),
                fmt=style,
                capsize=3,
                color=COLORS.get(subject),
                label=f"{subject}, {what}",
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("jobs waiting")
    axes.set_ylabel("ms")
    canvas.legend(loc="outside upper center", ncols=2, frameon=False)
    return _save(canvas, axes, path)


def _whiskers(spreads: Sequence[Spread]) -> list[list[float]]:
    below = [spread.median - spread.low for spread in spreads]
    return [below, [spread.high - spread.median for spread in spreads]]


# Any, here and below: matplotlib's stubs leave **kwargs untyped, which a strict checker refuses at every call.
def _canvas(height: float) -> Any:
    """Return an empty figure, 8 inches wide."""
    mpl.rcParams["svg.hashsalt"] = "asyncinfer"  # the same figures give the same file
    return Canvas(figsize=(8, height), layout="constrained")


def _save(canvas: Any, axes: Any, path: Path) -> Path:
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(exist_ok=True)
    canvas.savefig(path, metadata={"Date": None})
    return path
