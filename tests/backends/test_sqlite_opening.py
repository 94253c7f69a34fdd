"""Where an SQLite store can lie, what it sets there, and what it refuses."""

import asyncio
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from asyncinfer.abc import Limits
from asyncinfer.errors import InvalidOption, SchemaTooNew, StoreUnusable
from asyncinfer.testing.builders import new_job
from asyncinfer_sqlite import SQLiteStore, _location, _migrations
from asyncinfer_sqlite._connections import run
from asyncinfer_sqlite._liveness import LivenessLock
from asyncinfer_sqlite._migrations import APPLICATION_ID
from asyncinfer_sqlite._sql import migrations


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///jobs.db", Path("jobs.db").absolute()),
        ("sqlite:///folder/jobs.db", Path("folder/jobs.db").absolute()),
        ("sqlite:////var/lib/jobs.db", Path("/var/lib/jobs.db")),
        ("sqlite:////with%20space.db", Path("/with space.db")),
    ],
)
async def test_a_url_names_a_file(url: str, expected: Path) -> None:
    assert SQLiteStore.from_url(url).path == expected


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite://host/jobs.db",
        "sqlite:///:memory:",
        "sqlite:///jobs.db?mode=ro",
        "sqlite:///jobs.db#part",
        "postgres:///jobs.db",
        "sqlite:///a%00b",
    ],
)
async def test_a_wrong_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidOption, match="store: "):
        SQLiteStore.from_url(url)


async def test_what_the_writer_needs_is_set(path: Path) -> None:
    async with SQLiteStore(path) as store:
        connection = store._database._connection
        assert connection is not None
        pragmas = await run(connection, lambda raw: {name: value_of(raw, name) for name in WANTED})

    assert pragmas == WANTED


WANTED = {
    "journal_mode": "wal",
    "synchronous": 2,
    "foreign_keys": 1,
    "auto_vacuum": 2,
    "busy_timeout": 0,
    "application_id": APPLICATION_ID,
    "user_version": 2,
}


async def test_a_setting_that_sqlite_does_not_take_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with SQLiteStore(path):
        pass
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA journal_mode = DELETE").fetchall()
    raw.execute("PRAGMA auto_vacuum = NONE")
    raw.execute("VACUUM")
    raw.close()

    with pytest.raises(StoreUnusable, match="auto_vacuum"):
        await SQLiteStore(path).open()


async def test_nobody_else_can_read_the_files(path: Path) -> None:
    async with SQLiteStore(path) as store:
        await store.insert([new_job()], Limits())
        files = [each for each in (*path.parent.iterdir(), *workers_of(path).iterdir()) if each.is_file()]

        assert {each.name for each in files} > {"jobs.db", "jobs.db-wal", "jobs.db-shm"}
        assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
        assert stat.S_IMODE(workers_of(path).stat().st_mode) == 0o700


async def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="does not exist"):
        await SQLiteStore(tmp_path / "nowhere" / "jobs.db").open()


async def test_a_directory_that_cannot_be_written_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests may run as root, to whom every directory is writable.
    monkeypatch.setattr(os, "access", refused)

    with pytest.raises(StoreUnusable, match="not writable"):
        await SQLiteStore(path).open()


async def test_a_directory_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="cannot be opened"):
        await SQLiteStore(tmp_path).open()


@pytest.fixture
def foreign_file(path: Path) -> Path:
    path.write_bytes(b"not a database at all " * 500)
    return path


@pytest.fixture
def foreign_database(path: Path) -> Path:
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE theirs (n)")
    raw.close()
    return path


async def test_a_file_that_is_no_database_is_refused_and_left_alone(foreign_file: Path) -> None:
    before = content_of(foreign_file)

    with pytest.raises(StoreUnusable):
        await SQLiteStore(foreign_file).open()

    assert content_of(foreign_file) == before


async def test_a_database_of_another_program_is_refused_and_left_alone(foreign_database: Path) -> None:
    before = content_of(foreign_database)

    with pytest.raises(StoreUnusable, match="another program"):
        await SQLiteStore(foreign_database).open()

    assert content_of(foreign_database) == before


async def test_a_newer_schema_is_refused(path: Path) -> None:
    async with SQLiteStore(path):
        pass
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 7")
    raw.close()

    with pytest.raises(SchemaTooNew, match=r"schema 7.*up to 2"):
        await SQLiteStore(path).open()


async def test_deliveries_of_the_first_schema_are_brought_along(path: Path) -> None:
    raw = sqlite3.connect(path, isolation_level=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_migrations, "migrations", lambda: migrations()[:1])
        _migrations.migrate(raw, str(path))
    raw.execute(
        "INSERT INTO deliveries (id, owner, job_id, target, event, body, status, attempts, due_at, offered_at,"
        " created_at, secret) VALUES ('dlv_1', '', 'job_1', '', 'job.failed', '', 'exhausted', 10, 0, 0, 0, '')"
    )
    raw.close()

    async with SQLiteStore(path) as store:
        delivery = await store.outbox.delivery("", "dlv_1")

    assert delivery is not None
    assert (delivery.attempts, delivery.attempts_before) == (10, 0)


@pytest.mark.parametrize("file_system", ["nfs4", "cifs", "9p", "fuse.sshfs"])
async def test_a_network_file_system_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch, file_system: str) -> None:
    def found(_: Path) -> str:
        return file_system

    monkeypatch.setattr(_location, "file_system_of", found)

    with pytest.raises(StoreUnusable, match="network file system"):
        await SQLiteStore(path).open()

    assert content_of(path) is None


async def test_the_kernel_names_the_file_system(tmp_path: Path) -> None:
    assert _location.file_system_of(Path("/proc")) == "proc"
    assert _location.file_system_of(tmp_path) not in _location.NETWORK_FILE_SYSTEMS


async def test_a_store_that_could_not_open_leaves_no_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StoreUnusable("no locks here")

    monkeypatch.setattr(LivenessLock, "acquire", refuse)
    store = SQLiteStore(path)
    with pytest.raises(StoreUnusable, match="no locks"):
        await store.open()
    monkeypatch.undo()

    async with store:
        assert (await store.insert([new_job()], Limits()))[0].kind == "inserted"


async def test_a_close_that_is_cancelled_as_the_closing_ends_is_just_cancelled(path: Path) -> None:
    store = SQLiteStore(path)
    await store.open()
    close = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    closing = store._database._closing
    assert closing is not None
    closing.add_done_callback(lambda _: close.cancel())

    with pytest.raises(asyncio.CancelledError):
        await close


async def test_an_unknown_level_of_durability_is_refused(path: Path) -> None:
    with pytest.raises(InvalidOption, match="synchronous"):
        SQLiteStore(path, synchronous="SOMETIMES")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_a_store_says_what_its_answers_survive(path: Path) -> None:
    assert "machine" in SQLiteStore(path).features.durability
    assert "power cut" in SQLiteStore(path, synchronous="NORMAL").features.durability


def value_of(connection: sqlite3.Connection, pragma: str) -> object:
    return connection.execute(f"PRAGMA {pragma}").fetchone()[0]


def refused(*_: object) -> bool:
    return False


def content_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def workers_of(path: Path) -> Path:
    return path.with_name(path.name + "-workers")
