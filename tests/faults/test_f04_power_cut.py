"""F4: whatever instant the power fails at, what the SQLite store acknowledged is still there, whole.

A process writes jobs while strace records its system calls. At every step of the record the disk is built as a power
cut might leave it; each image is opened with plain SQLite and compared with what had been acknowledged by then.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp

import msgspec
import pytest
from msgspec import Struct

from tests.faults.harness.disk import Disk, Loss
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.power_cut_writer import Ack
from tests.faults.harness.system_calls import Written, read_steps, record

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(sys.platform != "linux", reason="strace, which records the system calls, is for Linux"),
]

SEEDS = {"pr": 1, "rel": 5}
JOBS = {"pr": 48, "rel": 240}
LEAST_IMAGES = 1_000
LOSSES: tuple[Loss, ...] = ("everything", "nothing", "some", "some", "torn", "torn")
_WRITER = Path(__file__).with_name("harness") / "power_cut_writer.py"
_MEMORY = Path("/dev/shm")
_decode_ack = msgspec.json.Decoder(Ack).decode

_Row = tuple[str, str, int, int | None, bytes | None, int]
_JOBS = """
SELECT id, status, attempt, result_bytes, ifnull(jobs.result, results.data),
    (SELECT count(*) FROM owed WHERE owed.n = jobs.n)
    + (SELECT count(*) FROM deliveries WHERE deliveries.job_id = jobs.id)
FROM jobs LEFT JOIN results USING (n)
"""
_MISCOUNTS = """
SELECT count(*) FROM (
    SELECT owner, line, sum(queued) AS queued, sum(running) AS running, sum(succeeded + failed + canceled) AS ended
    FROM tallies GROUP BY owner, line
    EXCEPT
    SELECT owner, line, sum(status = 'queued'), sum(status = 'running'), sum(finished_at IS NOT NULL)
    FROM jobs GROUP BY owner, line
)
"""


class Figures(Struct, frozen=True):
    """What was found in all images; all but the first two count broken promises."""

    images: int
    acknowledgements: int
    broken_files: int
    """Not readable, or `integrity_check` and `foreign_key_check` had something to say."""
    lost: int
    """Acknowledged jobs, attempts or endings that were not there."""
    results_lost: int
    """Acknowledged results that were missing or other bytes."""
    endings_without_owed: int
    """Ended jobs with a subscriber and without an owed event or a delivery."""
    owed_twice: int
    miscounted: int
    """Counters that did not fit the rows."""


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    broken: list[str] = []
    if figures.broken_files:
        broken.append("a power cut damages no file")
    if figures.lost or figures.results_lost:
        broken.append("what was acknowledged survives a power cut")
    if figures.endings_without_owed or figures.owed_twice:
        broken.append("an ending and its owed event are one commit")
    if figures.miscounted:
        broken.append("a move and its counters are one commit")
    return broken


@pytest.fixture
def disk_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for the images: in memory where the machine has such a place, for nothing in it must survive."""
    if not _MEMORY.is_dir():
        yield tmp_path
        return
    folder = Path(mkdtemp(dir=_MEMORY))
    yield folder
    shutil.rmtree(folder)


def test_a_power_cut_loses_nothing_that_was_acknowledged(tmp_path: Path, disk_folder: Path, size: Size) -> None:
    figures = cut_power(tmp_path, disk_folder, seeds=SEEDS[size], jobs=JOBS[size], synchronous="FULL")
    publish("F4", size, figures)
    assert verdict(figures) == []
    assert figures.images >= LEAST_IMAGES


def test_canary_without_a_sync_at_each_commit_it_does(tmp_path: Path, disk_folder: Path) -> None:
    figures = cut_power(tmp_path, disk_folder, seeds=1, jobs=12, synchronous="NORMAL")
    assert "what was acknowledged survives a power cut" in verdict(figures)


def cut_power(folder: Path, disk_folder: Path, *, seeds: int, jobs: int, synchronous: str) -> Figures:
    """Record one run of the writer for each seed, and look at the images of all."""
    looks: Counter[str] = Counter()
    for seed in range(1, seeds + 1):
        (folder / f"{seed}").mkdir()
        database, acks, trace = folder / f"{seed}" / "jobs.db", folder / f"acks-{seed}", folder / f"trace-{seed}"
        command = [sys.executable, _WRITER, database, acks, str(seed), str(jobs), synchronous]
        record([str(part) for part in command], trace, timeout=60)
        looks += look_at_images(trace, database, acks, disk_folder, random.Random(seed))
    return Figures(**{name: looks[name] for name in Figures.__struct_fields__})


def look_at_images(
    trace: Path, database: Path, acks: Path, disk_folder: Path, randomness: random.Random
) -> Counter[str]:
    """Follow the record, and look at what a power cut would leave behind each step."""
    disk = Disk(database.parent)
    told: dict[str, Ack] = {}
    looks: Counter[str] = Counter()
    for step in read_steps(trace, database.parent.parent):
        if isinstance(step, Written) and step.path == str(acks):
            for line in step.data.splitlines():
                ack = _decode_ack(line)
                told[ack.id] = ack
            looks["acknowledgements"] = looks["acknowledgements"] + step.data.count(b"\n")
            losses: tuple[Loss, ...] = ("everything",)
        else:
            losses = (randomness.choice(LOSSES),) if disk.apply(step) else ()
        for loss in losses:
            looks["images"] += 1
            looks.update(look(disk.images(loss, randomness), disk_folder, database.name, told))
    return looks


def look(files: Mapping[str, bytes], folder: Path, name: str, told: Mapping[str, Ack]) -> Counter[str]:
    """Open one image as the next process would, and count what is missing or wrong in it."""
    for old in folder.glob(f"{name}*"):
        old.unlink()
    for file, content in files.items():
        if not file.endswith("-shm"):
            (folder / file).write_bytes(content)
    connection = sqlite3.connect(folder / name, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        said = connection.execute("PRAGMA integrity_check").fetchall()
        said += connection.execute("PRAGMA foreign_key_check").fetchall()
        if said != [("ok",)]:
            return Counter(broken_files=1)
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            # The power failed in the first migration: the file must be as if it had never begun.
            begun = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            return Counter(lost=len(told), broken_files=1 if begun else 0)
        rows: list[_Row] = connection.execute(_JOBS).fetchall()
        return compare(rows, told) + Counter(miscounted=connection.execute(_MISCOUNTS).fetchone()[0])
    except sqlite3.DatabaseError:
        return Counter(broken_files=1)
    finally:
        connection.close()


def compare(rows: Sequence[_Row], told: Mapping[str, Ack]) -> Counter[str]:
    """Count what the rows do not keep of what was told."""
    found: Counter[str] = Counter()
    kept = {row[0]: row for row in rows}
    for ack in told.values():
        row = kept.get(ack.id)
        if row is None or row[2] < ack.attempt or (ack.status != "queued" and row[1] != ack.status):
            found["lost"] += 1
        elif ack.status == "succeeded" and row[4] != ack.result:
            found["results_lost"] += 1
    for _, status, _, result_bytes, result, owed in rows:
        has_ended = status not in ("queued", "running")
        found["endings_without_owed"] += has_ended and owed == 0
        found["owed_twice"] += owed > 1
        found["results_lost"] += result_bytes is not None and (result is None or len(result) != result_bytes)
    return found
