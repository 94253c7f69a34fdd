"""The results file: one JSON object a line, the machine first, then every run, then the verdicts on the goals."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import msgspec

from benchmarks.goals import Verdict
from benchmarks.machine import Machine
from benchmarks.records import Run, Runs

RESULTS = Path(__file__).parent / "results"
LATEST = RESULTS / "latest.jsonl"
"""The whole benchmark, as README.md shows it."""
PARTIAL = RESULTS / "partial.jsonl"
"""Every run of the newest call, as it ends: what is left of a call that was broken off. Not kept in the repository."""

Line: TypeAlias = Machine | Run | Verdict


def write(path: Path, lines: Iterable[Line]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.Encoder().encode_lines(lines))


def append(path: Path, line: Line) -> None:
    with path.open("ab") as file:
        file.write(msgspec.json.encode(line) + b"\n")


def read(path: Path) -> tuple[Machine, Runs]:
    """Return what an earlier call measured; its verdicts are judged anew."""
    lines = msgspec.json.Decoder(Line).decode_lines(path.read_bytes())
    (machine,) = (line for line in lines if isinstance(line, Machine))
    return machine, Runs(line for line in lines if isinstance(line, Run))
