"""A dead worker is known by its lock at once; a living one never is."""

import asyncio
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asyncinfer.abc import RunningLease
from asyncinfer.testing.builders import lease_of, move_id, new_job, request
from asyncinfer.testing.steps import accept, claim, start
from asyncinfer_sqlite import SQLiteStore, _liveness

WORKER = """
import asyncio, sys
from asyncinfer.testing.builders import request
from asyncinfer.testing.steps import claim
from asyncinfer_sqlite import SQLiteStore

async def main():
    store = SQLiteStore(sys.argv[1])
    await store.open()
    answer = await claim(store, request(worker="theirs"))
    print(len(answer.claims), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


async def test_a_killed_process_is_gone_at_once(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await accept(store, new_job())
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, str(path), stdout=asyncio.subprocess.PIPE
        )
        assert worker.stdout is not None
        assert await worker.stdout.readline() == b"1\n"
        alive = await only_lease(store)

        worker.kill()
        await worker.wait()
        dead = await only_lease(store)

        assert (alive.is_gone, dead.is_gone) == (False, True)


async def test_a_worker_of_this_store_is_never_gone(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await start(store)

        assert store.features.proves_death
        assert not (await only_lease(store)).is_gone


async def test_a_worker_of_another_open_store_is_not_gone(path: Path) -> None:
    async with SQLiteStore(path) as here, SQLiteStore(path) as there:
        await start(there)

        assert not (await only_lease(here)).is_gone


async def test_what_ran_in_a_closed_store_is_gone(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await start(store)

    async with SQLiteStore(path) as again:
        assert (await only_lease(again)).is_gone


async def test_a_missing_lock_file_proves_nothing(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await start(store)
    for file in files_of(path):
        file.unlink()

    async with SQLiteStore(path) as again:
        assert not (await only_lease(again)).is_gone


async def test_a_store_without_running_jobs_leaves_no_file(path: Path) -> None:
    async with SQLiteStore(path) as store:
        claimed = await start(store)
        await store.give_back([lease_of(claimed)], move_id())
        assert len(files_of(path)) == 1

    assert files_of(path) == []


async def test_files_of_the_dead_are_cleaned_up_when_nothing_runs_under_them(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await start(store)
    async with SQLiteStore(path) as again:
        await again.prune(10, tombstone=1_000)
        assert len(files_of(path)) == 2

        assert list(await again.rescue([await only_lease(again)])) == ["queued"]
        await again.prune(10, tombstone=1_000)

        assert len(files_of(path)) == 1
        assert len((await claim(again, request())).claims) == 1


async def test_a_forked_child_does_not_keep_the_lock(path: Path) -> None:
    store = SQLiteStore(path)
    await store.open()
    await start(store)
    with a_forked_child():
        await store.close()
        async with SQLiteStore(path) as again:
            assert (await only_lease(again)).is_gone


async def test_where_locks_are_not_shared_death_is_not_proven(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_liveness, "_try_lock", granted)
    async with SQLiteStore(path) as store:
        await start(store)
    async with SQLiteStore(path) as again:
        assert not again.features.proves_death
        assert not (await only_lease(again)).is_gone


def granted(*_: object) -> bool:
    return True


@contextmanager
def a_forked_child() -> Generator[None, None, None]:
    """Fork this process; the child lives until the block ends."""
    held, release = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release)
        os.read(held, 1)
        os._exit(0)
    try:
        yield
    finally:
        os.close(release)
        os.waitpid(child, 0)
        os.close(held)


async def only_lease(store: SQLiteStore) -> RunningLease:
    (lease,) = await store.leases(None, 10)
    return lease


def files_of(path: Path) -> list[Path]:
    return list(path.with_name(path.name + "-workers").iterdir())
