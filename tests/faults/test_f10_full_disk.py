"""F10: the disk is full, read-only, or its log deleted: new jobs are refused, what runs still ends, and all heals."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from msgspec import Struct

from asyncinfer import JobManager, model
from asyncinfer.abc import Claim, Finish, JobKey, Limits
from asyncinfer.errors import AsyncinferError, Refused, StorageFull, StoreError, StoreUnusable
from asyncinfer.testing.builders import new_jobs, request, subscription, success
from asyncinfer_sqlite import SQLiteStore
from asyncinfer_sqlite._writer import Writer
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.small_disks import MIB, BoundedPages, SmallDisk, mounted_disk
from tests.faults.harness.waiting import came_true

pytestmark = pytest.mark.fault

HEAD_ROOM = 12 * MIB
RUNNING = 100
"""Jobs whose results are to fit into the head-room."""
RUNNING_ON = 20
"""Jobs whose results come when there is no room at all."""
RESULT = b"r" * 16_384
LARGE_RESULT = b"l" * MIB
"""Of those, 20 do not fit into what the log has of the disk already."""
INPUT = "i" * 65_536
MOST_JOBS = 2_000
"""No small disk holds so many inputs."""
PATIENCE = 60.0


@model
async def echo(text: str) -> str:
    return text


class Figures(Struct, frozen=True):
    """What happened while the disk filled, was full, and had room again."""

    accepted: int
    refused_below_head_room: str
    """The error's name."""
    stored_from_head_room: int
    """Of RUNNING results."""
    refused_when_full: str
    put_off: int
    """Results that were refused because the disk was full, and were said again."""
    untyped: int
    """Errors that the library does not document."""
    recovery_seconds: float
    """From free room to a stored result and an accepted job."""
    lost: int
    """Accepted jobs and acknowledged results that are not there."""
    results_without_owed: int
    is_intact: bool


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    broken: list[str] = []
    if figures.refused_below_head_room != StorageFull.__name__:
        broken.append("new jobs are refused while there is room for results")
    if figures.stored_from_head_room < RUNNING:
        broken.append("running jobs end in the head-room")
    if not figures.refused_when_full or figures.untyped:
        broken.append("a full disk is told as such")
    if figures.recovery_seconds > 5:
        broken.append("the store heals within five seconds")
    if figures.lost or figures.results_without_owed or not figures.is_intact:
        broken.append("nothing that was acknowledged is lost")
    return broken


@pytest.fixture(params=["tmpfs", "max_page_count"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[SmallDisk]:
    if request.param == "max_page_count":
        yield BoundedPages(tmp_path, monkeypatch)
        return
    with mounted_disk(tmp_path / "disk") as mounted:
        yield mounted


async def test_running_jobs_end_on_a_disk_that_takes_no_new_ones(
    disk: SmallDisk, size: Size, request: pytest.FixtureRequest
) -> None:
    figures = await fill_and_free(disk, head_room=HEAD_ROOM)
    publish(f"F10 {request.node.callspec.id}", size, figures)
    assert verdict(figures) == []
    assert figures.put_off


async def test_canary_no_head_room(disk: SmallDisk) -> None:
    figures = await fill_and_free(disk, head_room=0, patience=5.0)
    assert "running jobs end in the head-room" in verdict(figures)


async def fill_and_free(disk: SmallDisk, *, head_room: int, patience: float = PATIENCE) -> Figures:
    """Submit until no job is taken, end what runs, let others fill the disk to its end, and free it again."""
    database = disk.folder / "jobs.db"
    store = SQLiteStore(database, min_free_bytes=head_room)
    await store.open()
    run = _Run(store)
    claims = await run.start(RUNNING + RUNNING_ON)
    async with JobManager(store, models=[echo], run_jobs=False) as manager:
        below = await run.submit_until_refused(manager)
        for claim in claims[:RUNNING]:
            await run.finish(success(claim, RESULT))
        stored = len(run.finished)
        disk.fill()
        full = await run.submit(manager)
        endings = [success(claim, RESULT) for claim in claims[:RUNNING] if claim.job_key not in run.finished]
        endings += [success(claim, LARGE_RESULT) for claim in claims[RUNNING:]]
        for ending in endings:
            await run.finish(ending)
        disk.free()
        freed_at = time.monotonic()
        await came_true(lambda: run.is_healed(manager, endings), patience)
        recovery = time.monotonic() - freed_at
    await store.close()
    lost, without_owed, is_intact = compare(database, run.accepted, run.finished)
    return Figures(
        accepted=len(run.accepted),
        refused_below_head_room=type(below).__name__,
        stored_from_head_room=stored,
        refused_when_full=type(full).__name__ if isinstance(full, (Refused, StoreError)) else "",
        put_off=run.put_off,
        untyped=run.untyped,
        recovery_seconds=round(recovery, 3),
        lost=lost,
        results_without_owed=without_owed,
        is_intact=is_intact,
    )


class _Run:
    """What submitters and a worker were told."""

    def __init__(self, store: SQLiteStore) -> None:
        self._store = store
        self.accepted: list[JobKey] = []
        self.finished: dict[JobKey, bytes | None] = {}
        self.put_off = self.untyped = 0

    async def start(self, count: int) -> Sequence[Claim]:
        jobs = new_jobs(count, subscriptions=(subscription(),))
        await self._store.insert(jobs, Limits())
        self.accepted += [job.job_key for job in jobs]
        (answer,) = await self._store.claim([request()])
        return answer.claims

    async def submit_until_refused(self, manager: JobManager) -> Exception | None:
        for _ in range(MOST_JOBS):
            error = await self.submit(manager)
            if error is not None:
                return error
        return None

    async def submit(self, manager: JobManager) -> Exception | None:
        try:
            handle = await manager.submit(echo, INPUT)
        except Exception as error:  # noqa: BLE001  whatever it is, it is counted
            self.untyped += not isinstance(error, AsyncinferError)
            return error
        self.accepted.append(JobKey("", handle.id))
        return None

    async def finish(self, ending: Finish) -> None:
        try:
            answers = await self._store.finish([ending])
        except Exception as error:  # noqa: BLE001  whatever it is, it is counted
            self.put_off += 1
            self.untyped += not isinstance(error, StoreError)
        else:
            if answers == ["done"]:
                self.finished[JobKey(ending.owner, ending.id)] = ending.result

    async def is_healed(self, manager: JobManager, endings: Sequence[Finish]) -> bool:
        """Try again, as a worker and a submitter would."""
        for ending in endings:
            await self.finish(ending)
        return await self.submit(manager) is None and all(
            JobKey(ending.owner, ending.id) in self.finished for ending in endings
        )


def compare(
    database: Path, accepted: Sequence[JobKey], finished: Mapping[JobKey, bytes | None]
) -> tuple[int, int, bool]:
    """Return what is lost, the results that nobody is told of, and whether the file is whole."""
    with closing(sqlite3.connect(database)) as connection:
        is_intact = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        found = {
            JobKey(owner, id_): (result, is_owed)
            for owner, id_, result, is_owed in connection.execute(
                "SELECT owner, id, data, EXISTS (SELECT 1 FROM owed WHERE owed.n = jobs.n) "
                "FROM jobs LEFT JOIN results USING (n)"
            )
        }
    lost = sum(key not in found for key in accepted)
    lost += sum(key not in found or found[key][0] != result for key, result in finished.items())
    return lost, sum(result is not None and not is_owed for result, is_owed in found.values()), is_intact


# Other ways in which the place of a store fails


async def test_a_read_only_directory_is_refused(tmp_path: Path) -> None:
    with read_only_folder(tmp_path / "disk") as folder:
        before = sorted(folder.iterdir())
        with pytest.raises(StoreUnusable):
            await SQLiteStore(folder / "jobs.db").open()
        assert sorted(folder.iterdir()) == before


@contextmanager
def read_only_folder(folder: Path) -> Generator[Path]:
    """A folder with an empty file in it, which this user cannot write: for root only a read-only mount is one."""
    if os.geteuid():
        folder.mkdir()
        (folder / "jobs.db").touch()
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    with mounted_disk(folder) as mounted:
        (folder / "jobs.db").touch()
        mounted.make_read_only()
        yield folder


class Deleted(Struct, frozen=True):
    """What was answered around the deletion of the log."""

    accepted: int
    refused_with: str
    recovery_seconds: float
    lost: int


def deletion_verdict(figures: Deleted) -> list[str]:
    """Return the promises that were broken."""
    broken: list[str] = []
    if figures.refused_with != StoreUnusable.__name__:
        broken.append("a deleted log is told")
    if figures.lost:
        broken.append("nothing that was accepted is lost")
    if figures.recovery_seconds > 5:
        broken.append("the store heals within five seconds")
    return broken


async def test_a_deleted_log_is_told_and_loses_nothing(tmp_path: Path, size: Size) -> None:
    figures = await delete_the_log(tmp_path / "jobs.db")
    publish("F10 deleted log", size, figures)
    assert deletion_verdict(figures) == []


async def test_canary_writing_into_a_deleted_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def do_not_look(writer: Writer, connection: sqlite3.Connection) -> bool:
        return True

    monkeypatch.setattr(Writer, "_has_files", do_not_look)
    figures = await delete_the_log(tmp_path / "jobs.db")
    assert "a deleted log is told" in deletion_verdict(figures)


async def delete_the_log(database: Path) -> Deleted:
    """Delete the log under an open store, try to submit on, and open the store again."""
    store = SQLiteStore(database)
    await store.open()
    accepted: list[JobKey] = []
    refused_with = ""
    for number in range(20):
        if number == 10:
            database.with_name(f"{database.name}-wal").unlink()
        jobs = new_jobs(2)
        try:
            await store.insert(jobs, Limits())
        except StoreError as error:
            refused_with = type(error).__name__
        else:
            accepted += [job.job_key for job in jobs]
    began = time.monotonic()
    await store.close()
    await store.open()
    await store.insert(new_jobs(1), Limits())
    recovery = time.monotonic() - began
    found = await store.get(accepted)
    await store.close()
    return Deleted(len(accepted), refused_with, round(recovery, 3), found.count(None))
