"""F16: 64 tasks in each of two processes submit under one key: one job is made, and another input is a conflict."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from multiprocessing.synchronize import Barrier
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from asyncinfer import IdempotencyConflict, JobFilter, JobManager, Limits, model
from asyncinfer.abc import Inserted, NewJob
from asyncinfer_sqlite import SQLiteStore
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.processes import nursery
from tests.faults.harness.witness import Line, Testimony, Witness
from tests.faults.harness.witnessed_store import opened

pytestmark = pytest.mark.fault

KEYS = {"pr": 1_000, "rel": 10_000}
PROCESSES = 2
TASKS = 64
OTHERS = 16
"""Of the tasks of each process so many have another input; which one is the other is decided by who comes first."""
TOGETHER = 20
"""Keys between two meetings of the processes: without them one would run ahead and win every key."""
LIMITS = Limits(queued_jobs=1_000_000)
PATIENCE_SECONDS = 600.0


class Figures(Struct, frozen=True, kw_only=True):
    keys: int
    submits: int
    jobs: int
    keys_made_twice: int
    wrong_ids: int
    """Submits with the input of the key's job that were not answered with its id."""
    conflicts: int
    conflicts_missed: int
    """Submits with another input that were not refused, naming the key's job."""
    keys_won: Sequence[int]
    """By process: a race that one side always wins would be none."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "one key makes one job": figures.keys_made_twice == 0 and figures.jobs == figures.keys,
        "the same key and input give the same id": figures.wrong_ids == 0,
        "another input is always a conflict": figures.conflicts_missed == 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@model
async def never_run(text: str) -> str:
    return text


class Answer(Struct, frozen=True):
    """What some submits of one process were answered."""

    key: int
    text: str
    kind: str
    """made, existing, or conflict."""
    job: str


async def submitter(database: Path, witnesses: Path, barrier: Barrier, keys: int, *, is_atomic: bool) -> None:
    """Submit under every key with all tasks, in step with the other process."""
    witness = Witness(witnesses)
    store = SQLiteStore(database) if is_atomic else CheckingStore(database)
    async with opened(store), JobManager(store, models=[never_run], limits=LIMITS, run_jobs=False) as manager:
        for start in range(0, keys, TOGETHER):
            meeting = range(start, min(start + TOGETHER, keys))
            await asyncio.to_thread(barrier.wait, PATIENCE_SECONDS)
            answers: Counter[Answer] = Counter()
            await asyncio.gather(*(submit_all(manager, meeting, task, answers) for task in range(TASKS)))
            for answer, count in answers.items():
                witness.write(answer.kind, answer.job, count, f"{answer.key} {answer.text}")


async def submit_all(manager: JobManager, keys: range, task: int, answers: Counter[Answer]) -> None:
    """Submit under each of these keys, in an order of its own."""
    text = "other" if task < OTHERS else "input"
    for key in random.sample(keys, len(keys)):
        keyed = never_run.options(idempotency_key=f"key-{key}")
        try:
            handle = await manager.submit(keyed, text)
        except IdempotencyConflict as conflict:
            answer = Answer(key, text, "conflict", conflict.job_id)
        else:
            answer = Answer(key, text, "existing" if handle.is_existing else "made", handle.id)
        answers[answer] += 1


class CheckingStore(SQLiteStore):
    """Without the protection: looks for the key first, and inserts in another step."""

    async def insert(self, jobs: Sequence[NewJob], limits: Limits) -> Sequence[Inserted]:
        return [await self._check_then_insert(job, limits) for job in jobs]

    async def _check_then_insert(self, job: NewJob, limits: Limits) -> Inserted:
        labels = {"key": job.key or ""}
        found = (await self.find("", JobFilter(labels=labels))).jobs
        if found:
            is_same = found[0].labels["fingerprint"] == job.fingerprint.hex()
            return Inserted("existing" if is_same else "conflict", found[0].id)
        labels["fingerprint"] = job.fingerprint.hex()
        unkeyed = msgspec.structs.replace(job, key=None, key_until=None, labels=labels)
        return (await super().insert([unkeyed], limits))[0]


async def test_many_submit_under_the_same_key(size: Size, tmp_path: Path) -> None:
    figures = await scenario(tmp_path, KEYS[size])
    publish("F16", size, figures)
    assert verdict(figures) == []


async def test_a_check_before_the_insert_makes_doubles(tmp_path: Path) -> None:
    figures = await scenario(tmp_path, 4, is_atomic=False)
    assert {"one key makes one job", "the same key and input give the same id"} <= set(verdict(figures))


async def scenario(folder: Path, keys: int, *, is_atomic: bool = True) -> Figures:
    """Let the processes race for the keys, then compare what each was told with what the store holds."""
    began = time.monotonic()
    database, witnesses = folder / "jobs.db", folder / "witnesses"
    with nursery(folder / "logs") as processes:
        barrier = processes.barrier(PROCESSES)
        children = [
            processes.start(submitter, database, witnesses, barrier, keys, is_atomic=is_atomic)
            for _ in range(PROCESSES)
        ]
        for child in children:
            assert await child.has_ended(PATIENCE_SECONDS), processes.logs()
            assert child.exit_code == 0, processes.logs()
    lines = Testimony(witnesses).lines()
    async with opened(SQLiteStore(database)) as store, JobManager(store, models=[never_run], run_jobs=False) as manager:
        jobs = sum([1 async for _ in manager.find_all(JobFilter(model="never_run"))])
    return figures_of(lines, keys, jobs, [child.pid for child in children], time.monotonic() - began)


def figures_of(lines: Sequence[Line], keys: int, jobs: int, pids: Sequence[int], seconds: float) -> Figures:
    """Count; the note of a line is its key and input, its attempt how often it was answered so."""
    made = [line for line in lines if line.event == "made"]
    winners = {key_of(line): line for line in made}
    same = [line for line in lines if text_of(line) == text_of(winners[key_of(line)])]
    other = [line for line in lines if text_of(line) != text_of(winners[key_of(line)])]
    return Figures(
        keys=keys,
        submits=sum(line.attempt for line in lines),
        jobs=jobs,
        keys_made_twice=sum(count > 1 for count in times_made(made).values()),
        wrong_ids=sum(line.attempt for line in same if line.event == "conflict" or is_another(line, winners)),
        conflicts=sum(line.attempt for line in other if line.event == "conflict"),
        conflicts_missed=sum(line.attempt for line in other if line.event != "conflict" or is_another(line, winners)),
        keys_won=[sum(line.pid == pid for line in made) for pid in pids],
        seconds=seconds,
    )


def key_of(line: Line) -> str:
    return line.note.split()[0]


def text_of(line: Line) -> str:
    return line.note.split()[1]


def is_another(line: Line, winners: dict[str, Line]) -> bool:
    return line.job != winners[key_of(line)].job


def times_made(made: Sequence[Line]) -> Counter[str]:
    """Return how many jobs were made under each key."""
    counts: Counter[str] = Counter()
    for line in made:
        counts[key_of(line)] += line.attempt
    return counts
