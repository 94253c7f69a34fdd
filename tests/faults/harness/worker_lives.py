"""When worker processes lived, by their own testimony."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from tests.faults.harness.witness import Line


def births(lines: Sequence[Line]) -> Sequence[Line]:
    """Return the first line of each process, in order of time."""
    first: dict[int, Line] = {}
    for line in lines:
        first.setdefault(line.pid, line)
    return list(first.values())


def not_ended(lines: Sequence[Line]) -> Sequence[Line]:
    """Return the line with which each attempt began that has not ended: its process has died, or it still runs."""
    ended = {(line.job, line.attempt) for line in lines if line.event == "end"}
    return [line for line in lines if line.event == "begin" and (line.job, line.attempt) not in ended]


def deaths(lines: Sequence[Line], killers: Collection[str]) -> Sequence[Line]:
    """Return the last line of each process that began one of `killers` and did not end it, in order of time."""
    last = {line.pid: line for line in lines}
    pids = {line.pid for line in not_ended(lines) if line.note in killers}
    return sorted((line for pid, line in last.items() if pid in pids), key=lambda line: line.at)


def replacement_seconds(lines: Sequence[Line], killers: Collection[str], slots: int) -> float:
    """Return the longest time from a death to the first job of the process that makes up for it.

    `slots` processes were there to begin with. Infinite while one is missing.
    """
    ends = [line.at for line in deaths(lines, killers)]
    made_up = [line.at for line in births(lines)][slots:]
    if len(made_up) < len(ends):
        return math.inf
    return max((born - end for end, born in zip(ends, made_up, strict=False)), default=0.0)
