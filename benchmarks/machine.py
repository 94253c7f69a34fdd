"""The facts that a figure means nothing without."""

from __future__ import annotations

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from msgspec import Struct


class Machine(Struct, frozen=True, kw_only=True, tag="machine", tag_field="kind"):
    """Where and with what the runs were made; the first line of a results file."""

    date: str
    asyncinfer: str
    cpu: str
    cores: int
    load: float
    """Processes that wanted to run in the minute before: what else the machine was doing."""
    system: str
    python: str
    sqlite: str
    fsync_ms: float
    """Median of 50 times 4 KiB appended and synced, where the SQLite files of the runs lie."""
    queue_limit: int
    """The limit of waiting jobs, raised from 10,000 so that no workload meets it."""
    is_quick: bool

    @classmethod
    def here(cls, directory: Path, *, queue_limit: int, is_quick: bool) -> Machine:
        return cls(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            asyncinfer=version("asyncinfer"),
            cpu=_cpu(),
            cores=os.cpu_count() or 0,
            load=round(os.getloadavg()[0], 2),
            system=platform.platform(terse=True),
            python=platform.python_version(),
            sqlite=sqlite3.sqlite_version,
            fsync_ms=round(_fsync_ms(directory), 3),
            queue_limit=queue_limit,
            is_quick=is_quick,
        )

    def text(self) -> str:
        """Return it as a Markdown list."""
        quick = "; small sizes: a look, not a figure" if self.is_quick else ""
        return (
            f"* {self.date}, asyncinfer {self.asyncinfer}, Python {self.python}, SQLite {self.sqlite}, {self.system}\n"
            f"* {self.cpu}, {self.cores} cores, load before {self.load:.2f}, fsync {self.fsync_ms:.2f} ms\n"
            f"* queue limit raised from 10,000 to {self.queue_limit:,} waiting jobs{quick}"
        )


def _cpu() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _fsync_ms(directory: Path) -> float:
    laps: list[float] = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(50):
            file.write(bytes(4096))
            begun = time.perf_counter()
            os.fsync(file.fileno())
            laps.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(laps)
