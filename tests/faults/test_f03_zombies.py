"""F3: a worker is stopped past its lease and continues; what it writes then is refused, and its slot is soon free.

A zombie stops itself in front of the very write that comes too late, or is stopped from outside at a random moment.
Half of them continue while the next attempt of their job runs, half when it has ended.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct, msgpack

from asyncinfer import JobHandle, JobManager, Model, OutputEvent, StatusEvent, current_job, model
from asyncinfer.abc import Finish, JobKey, JobStore, Lease, Limits, Record, WriteAnswer
from asyncinfer_sqlite import SQLiteStore, _finish, _record
from asyncinfer_sqlite._moves import MoveRow
from tests.faults.harness.audit import audit
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.processes import Child, Nursery, nursery
from tests.faults.harness.waiting import came_true, until
from tests.faults.harness.witness import Line, Testimony, Witness
from tests.faults.harness.witnessed_store import WitnessedStore, opened

pytestmark = pytest.mark.fault

Late = Literal["finish", "record", "give_back", "anything"]
"""What a zombie is stopped before; `anything`: from outside, while it reports again and again."""
Fence = Literal["attempt", "status", "id"]

ZOMBIES = {"pr": 30, "rel": 200}
WAVE = 15
LATE: Sequence[Late] = ("finish", "record", "give_back", "anything")
LEASE = 1.0
SLOT_SECONDS = 5.0


class Figures(Struct, frozen=True, kw_only=True):
    zombies: int
    stale_results: int
    stale_records: int
    """Progress, output and checkpoints."""
    stale_give_backs: int
    refused: int
    never_refused: int
    """Zombies that stopped in front of a write, and were not told that it came too late."""
    wrong_results: int
    late_events: int
    """Events of the zombie's attempt in the job's history behind the start of the next."""
    not_ended_once: int
    not_owed_once: int
    rescue_seconds_max: float
    """From the stop to the start of the next attempt."""
    slot_seconds_max: float
    """From the continuing to the free slot."""
    seconds: float


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "0 stale results are accepted": figures.stale_results == figures.wrong_results == 0,
        "0 stale reports are accepted": figures.stale_records == figures.late_events == 0,
        "0 stale give-backs are accepted": figures.stale_give_backs == 0,
        "every late write is refused": figures.never_refused == 0,
        "every job ends by one terminal move": figures.not_ended_once == 0,
        "every job has one owed event": figures.not_owed_once == 0,
        "the slot is free within 5 s": figures.slot_seconds_max <= SLOT_SECONDS,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


def name_of(number: int) -> str:
    """Return the name of a zombie's model: it runs no other, so that none inherits what another held."""
    return f"held_{number}"


async def zombie(database: Path, witnesses: Path, number: int, late: Late, fence: Fence) -> None:
    """Run one job, and be stopped."""
    weaken(fence)
    witness = Witness(witnesses)
    has_begun = asyncio.Event()

    @model(name=name_of(number))
    async def stale(text: str) -> str:
        job = current_job()
        witness.write("begin", job.job_id, job.attempt, late)
        has_begun.set()
        while late != "finish":
            if late != "give_back":
                job.progress(0.99, "stale")
                job.emit("stale")
                job.save_checkpoint("stale")
            await asyncio.sleep(0.02)  # a step of the work
        return "stale"

    store = ZombieStore(database, witness, late)
    async with opened(store), JobManager(store, models=[stale], lease=LEASE, concurrency=1) as manager:
        await has_begun.wait()
        if late == "give_back":
            await manager.drain(0)
        worker = manager._core.engine.worker
        await until(lambda: worker.running_calls == 0, 120, what="the slot is free")
        witness.write("free")
        await asyncio.Event().wait()


class ZombieStore(WitnessedStore):
    """Stops its process in front of the first write of one kind."""

    def __init__(self, path: Path, witness: Witness, late: Late) -> None:
        super().__init__(path, witness)
        self._late: Late | None = late

    async def finish(self, items: Sequence[Finish]) -> Sequence[WriteAnswer]:
        await self._stop_before("finish")
        return await super().finish(items)

    async def record(self, items: Sequence[Record], limits: Limits) -> Sequence[int | None]:
        await self._stop_before("record")
        return await super().record(items, limits)

    async def give_back(self, leases: Sequence[Lease], move_id: bytes) -> Sequence[WriteAnswer]:
        await self._stop_before("give_back")
        return await super().give_back(leases, move_id)

    async def _stop_before(self, late: Late) -> None:
        if late != self._late:
            return
        self._late = None
        # Its answer comes between two commits: a process that is stopped in one keeps the file locked for everybody.
        await self.extend("nobody", [], round(LEASE * 1000))
        self._witness.write("stopped")
        os.kill(os.getpid(), signal.SIGSTOP)


def weaken(fence: Fence) -> None:
    """Take parts of the fence away in this process."""

    def by_status(row: MoveRow | None, attempt: int) -> bool:
        return row is not None and row.status == "running"

    def by_id(row: MoveRow | None, attempt: int) -> bool:
        return row is not None

    if fence != "attempt":
        for writes in (_finish, _record):
            pytest.MonkeyPatch().setattr(writes, "holds", by_status if fence == "status" else by_id)


async def healthy(database: Path, witnesses: Path, zombies: int, release: Path) -> None:
    """Take over what the zombies held, and end it once the test says so."""
    witness = Witness(witnesses)

    async def fresh(text: str) -> str:
        job = current_job()
        job.progress(0.5, "fresh")
        witness.write("begin again", job.job_id, job.attempt)
        await until(release.exists, 120, what="the test releases the jobs")
        return "fresh"

    models = [model(fresh, name=name_of(number)) for number in range(zombies)]
    async with JobManager(f"sqlite:///{database}", models=models, lease=LEASE):
        await asyncio.Event().wait()


async def test_a_zombie_is_refused(size: Size, tmp_path: Path) -> None:
    figures = await scenario(tmp_path, [LATE[number % len(LATE)] for number in range(ZOMBIES[size])])
    publish("F3", size, figures)
    assert verdict(figures) == []


@pytest.mark.parametrize("late", ["finish", "record", "give_back"])
async def test_a_fence_by_status_alone_lets_a_zombie_write_into_the_next_attempt(late: Late, tmp_path: Path) -> None:
    figures = await scenario(tmp_path, [late], "status")
    assert verdict(figures) != []
    assert figures.stale_results + figures.stale_records + figures.stale_give_backs > 0


async def test_a_fence_by_id_alone_lets_a_zombie_end_a_job_again(tmp_path: Path) -> None:
    figures = await scenario(tmp_path, ["finish", "finish"], "id")
    assert {"0 stale results are accepted", "every job has one owed event"} <= set(verdict(figures))


async def scenario(folder: Path, late: Sequence[Late], fence: Fence = "attempt") -> Figures:
    """Run the zombies in waves, each on a database of its own, and add up what they got away with."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    began = time.monotonic()
    waves = [
        await Wave(folder / f"wave-{start}", late[start : start + WAVE], fence, random.Random(seed + start)).run()
        for start in range(0, len(late), WAVE)
    ]
    return figures_of(waves, len(late), time.monotonic() - began)


class Seen(Struct, frozen=True, kw_only=True):
    """One wave: what was witnessed, and what the store holds at the end."""

    lines: Sequence[Line]
    wrong_results: int
    late_events: int
    not_ended_once: int
    not_owed_once: int


class Wave:
    """Some zombies on one store: stopped together, rescued by a healthy worker, continued in two halves."""

    def __init__(self, folder: Path, late: Sequence[Late], fence: Fence, chance: random.Random) -> None:
        self._database, self._witnesses = folder / "jobs.db", folder / "witnesses"
        self._folder, self._late, self._chance = folder, late, chance
        self._fence: Fence = fence
        # Where the fence is weak the slot is never free: the zombie's lease is renewed.
        self._patience = 2 * SLOT_SECONDS if fence == "attempt" else 1.0
        self._release = folder / "release"
        self._witness, self._testimony = Witness(self._witnesses), Testimony(self._witnesses)
        self._zombies: list[Child] = []

    async def run(self) -> Seen:
        with nursery(self._folder / "logs") as processes:
            async with (
                opened(SQLiteStore(self._database)) as store,
                JobManager(store, models=self._models(), run_jobs=False, lease=LEASE) as manager,
            ):
                handles = await self._start_zombies(processes, manager)
                processes.start(healthy, self._database, self._witnesses, len(handles), self._release)
                await until(lambda: self._count("begin again") >= len(handles), 60, what="the next attempts begin")
                half = (len(handles) + 1) // 2
                await self._continue(range(half))
                self._release.touch()
                await asyncio.wait([asyncio.ensure_future(handle.result(timeout=30)) for handle in handles])
                await self._continue(range(half, len(handles)))
                return await self._look(store, [handle.id for handle in handles])

    def _models(self) -> list[Model[[str], str, object]]:
        async def submitted(text: str) -> str:
            return text

        return [model(submitted, name=name_of(number)) for number in range(len(self._late))]

    async def _start_zombies(self, processes: Nursery, manager: JobManager) -> list[JobHandle[str]]:
        """Start them, submit a job for each, and return when they stand still."""
        for number, late in enumerate(self._late):
            child = processes.start(zombie, self._database, self._witnesses, number, late, self._fence)
            self._zombies.append(child)
        submissions = [one.options(webhook="https://hooks.example.com/f3").bind("input") for one in self._models()]
        handles = await manager.submit_many(submissions)
        await asyncio.gather(*(self._standstill(*each) for each in zip(self._zombies, self._late, strict=True)))
        return handles

    async def _standstill(self, child: Child, late: Late) -> None:
        own = Testimony(self._witnesses, child.pid)
        await until(lambda: bool(own.lines("begin")), 60, what="the zombie begins its job")
        if late == "anything":
            await self._stop_from_outside(child)
        else:
            await until(lambda: bool(own.lines("stopped")), 60, what="the zombie stops itself")

    async def _stop_from_outside(self, child: Child) -> None:
        """Stop it at a random moment, but not in a commit: there it would keep the file locked for everybody."""
        while True:
            await asyncio.sleep(self._chance.uniform(0, 0.1))
            child.send(signal.SIGSTOP)
            if can_write(self._database):
                break
            child.send(signal.SIGCONT)
        self._witness.write("stopped from outside", note=str(child.pid))

    async def _continue(self, numbers: range) -> None:
        """Let these zombies go on, and wait until their slots are free and their late writes answered."""
        children = [self._zombies[number] for number in numbers]
        for child in children:
            self._witness.write("continued", note=str(child.pid))
            child.send(signal.SIGCONT)
        pids = {child.pid for child in children}
        await came_true(lambda: pids <= {line.pid for line in self._testimony.lines("free")}, self._patience)
        answering = {child.pid for child, late in zip(self._zombies, self._late, strict=True) if late != "anything"}
        answers = ("finish", "record", "give_back")
        await came_true(lambda: (pids & answering) <= {line.pid for line in self._testimony.lines(*answers)}, 10)

    def _count(self, event: str) -> int:
        return len(self._testimony.lines(event))

    async def _look(self, store: JobStore, ids: Sequence[str]) -> Seen:
        audited = await audit(store, ids)
        results = [None if one.job is None else one.job.result for one in audited]
        return Seen(
            lines=self._testimony.lines(),
            wrong_results=sum(result is None or msgpack.decode(result) != "fresh" for result in results),
            late_events=sum([await late_events(store, job_id) for job_id in ids]),
            not_ended_once=sum(one.terminal_moves != 1 for one in audited),
            not_owed_once=sum(one.owed_events != 1 for one in audited),
        )


def can_write(database: Path) -> bool:
    """Tell whether nobody keeps the file locked for longer than a commit takes."""
    with closing(sqlite3.connect(database, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


async def late_events(store: JobStore, job_id: str) -> int:
    """Count the output of the first attempt that stands behind the start of a later one."""
    newest, late = 0, 0
    for event in (await store.events(JobKey("", job_id), 0, 10_000)).events:
        if isinstance(event, StatusEvent | OutputEvent):
            late += event.attempt < newest
            newest = max(newest, event.attempt)
    return late


def figures_of(waves: Sequence[Seen], zombies: int, seconds: float) -> Figures:
    answers = [answer for wave in waves for answer in late_answers(wave.lines)]
    accepted = [line.event for line in answers if line.note.endswith("done")]
    refused = {line.pid for line in answers if line.note.endswith("lost")}
    return Figures(
        zombies=zombies,
        stale_results=accepted.count("finish"),
        stale_records=accepted.count("record"),
        stale_give_backs=accepted.count("give_back"),
        refused=sum(line.note.endswith("lost") for line in answers),
        never_refused=len({line.pid for wave in waves for line in wave.lines if line.event == "stopped"} - refused),
        wrong_results=sum(wave.wrong_results for wave in waves),
        late_events=sum(wave.late_events for wave in waves),
        not_ended_once=sum(wave.not_ended_once for wave in waves),
        not_owed_once=sum(wave.not_owed_once for wave in waves),
        rescue_seconds_max=max(seconds for wave in waves for seconds in rescue_seconds(wave.lines)),
        slot_seconds_max=max(seconds for wave in waves for seconds in slot_seconds(wave.lines)),
        seconds=seconds,
    )


def late_answers(lines: Sequence[Line]) -> list[Line]:
    """Return what the store answered to the writes that zombies made after they had been continued."""
    continued = {int(line.note): line.at for line in lines if line.event == "continued"}
    writes = ("finish", "record", "give_back")
    return [line for line in lines if line.event in writes and line.at > continued.get(line.pid, line.at)]


def rescue_seconds(lines: Sequence[Line]) -> list[float]:
    stops = {line.pid: line.at for line in lines if line.event == "stopped"}
    stops |= {int(line.note): line.at for line in lines if line.event == "stopped from outside"}
    stopped = {line.job: stops[line.pid] for line in lines if line.event == "begin" and line.attempt == 1}
    return [line.at - stopped[line.job] for line in lines if line.event == "begin again" and line.attempt == 2]


def slot_seconds(lines: Sequence[Line]) -> list[float]:
    """Return the seconds from each continuing to the free slot; infinite where there never was one."""
    free = {line.pid: line.at for line in lines if line.event == "free"}
    continued = {int(line.note): line.at for line in lines if line.event == "continued"}
    return [max(0.0, free.get(pid, float("inf")) - at) for pid, at in continued.items()]
