"""Run the benchmark: `python -m benchmarks [W1 W2 ...]`. It prints what it measures and never fails on a figure.

A subject that raises is left out of that round, and then the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from benchmarks import results
from benchmarks.goals import goals, judge
from benchmarks.machine import Machine
from benchmarks.plan import FULL, QUICK, Bout, Plan, Sizes
from benchmarks.records import Run, Runs
from benchmarks.report import README, goal_table, publish, tables
from benchmarks.subjects import QUEUE_LIMIT, STORES, StoreName

NAMES = (
    "W1",
    "W1b",
    "W2",
    "W3",
    "W5",
    "W6",
    "W7",
    "W8",
    "W9",
    "executors",
    "batching",
    "kill",
    "lag",
    "bind",
    "import",
)


class Options(argparse.Namespace):
    """The command line, typed."""

    workloads: list[str]
    stores: list[StoreName]
    rounds: int
    quick: bool
    publish: bool
    replay: Path | None
    directory: Path | None

    @property
    def sizes(self) -> Sizes:
        return QUICK if self.quick else FULL

    @property
    def is_whole(self) -> bool:
        return not self.quick and set(self.workloads) == set(NAMES) and set(self.stores) == set(STORES)


def main() -> None:
    options = _options()
    if options.replay is not None:
        machine, runs = results.read(options.replay)
    else:
        with tempfile.TemporaryDirectory(prefix="asyncinfer-bench-", dir=options.directory) as directory:
            machine = Machine.here(Path(directory), queue_limit=QUEUE_LIMIT, is_quick=options.quick)
            print(machine.text(), end="\n\n", flush=True)
            results.write(results.PARTIAL, [machine])
            runs = asyncio.run(_measure(options, Path(directory)))
    is_new_whole = options.replay is None and options.is_whole and not runs.failures
    _report(machine, runs, publishing=options.publish or is_new_whole)
    if runs.failures:
        raise SystemExit("Not measured, for the errors above: " + "; ".join(runs.failures))


async def _measure(options: Options, directory: Path) -> Runs:
    runs = Runs()
    contests = Plan(options.stores, options.sizes, directory).contests()
    for name in options.workloads:
        for contest in contests[name]:
            async with contest as bouts:
                for round_ in range(options.rounds):
                    await _round(bouts, round_, runs)
    return runs


async def _round(bouts: Sequence[Bout], number: int, runs: Runs) -> None:
    start = number % len(bouts)  # nobody is always first
    for bout in (*bouts[start:], *bouts[:start]):
        try:
            metrics = await bout.measure()
        except Exception:  # noqa: BLE001  one subject's failure must not cost the others' figures; it shows in the exit status
            runs.failures.append(f"{bout.workload} {bout.subject}, round {number}")
            traceback.print_exc()
            continue
        run = Run(workload=bout.workload, subject=bout.subject, round=number, metrics=metrics)
        runs.add(run)
        results.append(results.PARTIAL, run)
        shown = "  ".join(f"{name} {value:,.4g}" for name, value in run.metrics.items())
        print(f"{bout.workload:22} {number}  {bout.subject:26} {shown}", flush=True)


def _report(machine: Machine, runs: Runs, *, publishing: bool) -> None:
    waiting = sorted(int(name.removeprefix("W6/")) for name in runs.workloads() if name.startswith("W6/"))
    verdicts = [judge(goal, runs) for goal in goals(waiting)]
    text = "\n\n".join(filter(None, [machine.text(), *tables(runs), goal_table(verdicts)]))
    print("", text, sep="\n")
    path = results.LATEST if publishing else results.PARTIAL
    results.write(path, [machine, *runs, *verdicts])
    print(f"\nThe runs are in {path}")
    if publishing:
        from benchmarks.plots import draw  # after the runs: matplotlib starts threads and takes memory

        publish(text, draw(runs))
        print(f"{README} and its plots are made anew")


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure asyncinfer beside its floors.")
    parser.add_argument("workloads", nargs="*", metavar="W", help=f"some of {', '.join(NAMES)}; all of them by default")
    parser.add_argument("--stores", nargs="+", choices=STORES, default=list(STORES))
    parser.add_argument("--rounds", type=int, default=3, help="how often each subject runs each workload (3)")
    parser.add_argument("--quick", action="store_true", help="small sizes: for a look, not for a figure")
    parser.add_argument("--publish", action="store_true", help="write README.md and the plots even so")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="report an earlier results file; measure nothing")
    parser.add_argument("--directory", type=Path, help="where the SQLite files go; the system's temporary directory")
    options = parser.parse_args(namespace=Options())
    options.workloads = options.workloads or list(NAMES)
    unknown = set(options.workloads) - set(NAMES)
    if unknown:
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    main()
