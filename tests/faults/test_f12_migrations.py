"""F12: eight processes migrate one SQLite file at once, one is killed in it, and older code meets the newer schema.

The newer code is this code with four more migrations, which only the child processes know. None of them can run twice:
each makes a table and a column, and leaves a row for each of its statements.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import random
import signal
import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import Struct

from asyncinfer.abc import Limits
from asyncinfer.errors import AsyncinferError, SchemaTooNew
from asyncinfer.testing.builders import new_jobs
from asyncinfer_sqlite import SQLiteStore, _database, _migrations, _sql
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.processes import nursery
from tests.faults.harness.witness import Testimony, Witness

pytestmark = pytest.mark.fault

ROUNDS = {"pr": 1, "rel": 50}
PROCESSES = 8
JOBS = 20
STATEMENTS = 10
PATIENCE = 60.0
"""Seconds that the processes of one round may take in all."""
_real_scripts = _sql.migrations()
_real_migrate = _migrations.migrate
SCHEMA = _real_scripts[-1][0]
NEWER = range(SCHEMA + 1, SCHEMA + 5)


class Figures(Struct, frozen=True):
    """Counts over all rounds."""

    rounds: int
    opened: int
    """Processes that migrated or waited for the one that did, and then had the store open."""
    not_opened: int
    died_midway: int
    """Processes that were killed inside a migration."""
    half_migrated: int
    """Files whose schema was neither the one nor the other after such a death."""
    not_run_once: int
    """Migrations that, at the end of a round, had not run exactly once."""
    jobs_lost: int
    refused: int
    """Newer files that this code would not open."""
    not_refused: int
    changed_by_refusal: int


def verdict(figures: Figures) -> list[str]:
    """Return the promises that were broken."""
    broken: list[str] = []
    if figures.not_opened:
        broken.append("every process that migrates at once opens the store")
    if figures.half_migrated:
        broken.append("a migration happens wholly or not at all")
    if figures.not_run_once:
        broken.append("each migration runs once")
    if figures.jobs_lost:
        broken.append("jobs outlive a migration")
    if figures.not_refused or figures.changed_by_refusal:
        broken.append("a newer schema is refused and left as it is")
    return broken


async def test_a_file_is_migrated_once_whoever_comes_and_whoever_dies(tmp_path: Path, size: Size) -> None:
    figures = await migrate_in_many_processes(tmp_path, rounds=ROUNDS[size])
    publish("F12", size, figures)
    assert verdict(figures) == []
    assert figures.died_midway == figures.refused == ROUNDS[size]


async def test_canary_migrations_without_the_lock(tmp_path: Path) -> None:
    figures = await migrate_in_many_processes(tmp_path, rounds=1, is_locked=False)
    assert "a migration happens wholly or not at all" in verdict(figures)
    assert "every process that migrates at once opens the store" in verdict(figures)


async def migrate_in_many_processes(folder: Path, *, rounds: int, is_locked: bool = True) -> Figures:
    """Upgrade an old file and make a new one, by many processes at once, in each round."""
    randomness = random.Random(rounds)
    counted: Counter[str] = Counter(rounds=rounds)
    for number in range(rounds):
        place = folder / str(number)
        place.mkdir()
        old, new = place / "old.db", place / "new.db"
        await _insert_jobs(old)
        await _die_midway(old, counted, randomness, is_locked=is_locked)
        for database in (old, new):
            await _open_at_once(database, counted, is_locked=is_locked)
            ran = statements_run(database)
            counted["not_run_once"] += sum(ran.get(each) != STATEMENTS for each in NEWER)
        counted["jobs_lost"] += JOBS - _jobs_in(old)
        await _open_with_older_code(old, counted)
    return Figures(**{name: counted[name] for name in Figures.__struct_fields__})


async def _insert_jobs(database: Path) -> None:
    store = SQLiteStore(database)
    await store.open()
    await store.insert(new_jobs(JOBS), Limits())
    await store.close()


async def _die_midway(database: Path, counted: Counter[str], randomness: random.Random, *, is_locked: bool) -> None:
    """Kill a process in one of its migrations: the file must then stand before that one, or behind it."""
    die_at = randomness.randint(1, len(NEWER) * STATEMENTS)
    with nursery(database.parent / "killed") as processes:
        child = processes.start(open_with_newer_code, database, is_locked=is_locked, die_at=die_at)
        assert await child.has_ended(PATIENCE)
        counted["died_midway"] += child.exit_code == -signal.SIGKILL
    version = _version(database)
    whole = {number: STATEMENTS for number in NEWER if number <= version}
    counted["half_migrated"] += statements_run(database) != whole or version != SCHEMA + (die_at - 1) // STATEMENTS


async def _open_at_once(database: Path, counted: Counter[str], *, is_locked: bool) -> None:
    barrier = multiprocessing.get_context("forkserver").Barrier(PROCESSES)
    witnesses = database.with_suffix(".witnesses")
    with nursery(database.with_suffix(".logs")) as processes:
        children = [
            processes.start(open_with_newer_code, database, witnesses, barrier, is_locked=is_locked)
            for _ in range(PROCESSES)
        ]
        for child in children:
            assert await child.has_ended(PATIENCE), processes.logs()
    opened = len(Testimony(witnesses).lines("opened"))
    counted.update(opened=opened, not_opened=PROCESSES - opened)


async def _open_with_older_code(database: Path, counted: Counter[str]) -> None:
    before = _everything_in(database)
    store = SQLiteStore(database)
    try:
        await store.open()
    except SchemaTooNew:
        counted["refused"] += 1
    else:
        counted["not_refused"] += 1
        await store.close()
    counted["changed_by_refusal"] += _everything_in(database) != before


# In the child processes


async def open_with_newer_code(
    database: Path,
    witnesses: Path | None = None,
    barrier: threading.Barrier | None = None,
    *,
    is_locked: bool,
    die_at: int | None = None,
) -> None:
    """Open the store as the next version would, together with the others; or die in its `die_at`th statement."""
    # Whoever hangs says where, before its parent gives up.
    faulthandler.dump_traceback_later(PATIENCE / 2)
    patch = pytest.MonkeyPatch()
    patch.setattr(_migrations, "migrations", lambda: [*_real_scripts, *((number, _script(number)) for number in NEWER)])
    if not is_locked:
        patch.setattr(_migrations, "_apply", _apply_without_the_lock)
    statements = Counter[str]()

    def tell() -> None:
        statements["told"] += 1
        if statements["told"] == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def migrate(connection: sqlite3.Connection, path: str) -> None:
        connection.create_function("tell", 0, tell)
        _real_migrate(connection, path)

    patch.setattr(_database, "migrate", migrate)
    if barrier is not None:
        barrier.wait(PATIENCE)
    store = SQLiteStore(database)
    try:
        await store.open()
    except AsyncinferError as error:
        print(error)
        return
    if witnesses is not None:
        witness = Witness(witnesses)
        witness.write("opened")
        witness.close()
    await store.close()


def _script(number: int) -> str:
    lines = [f"CREATE TABLE ran_{number} (statement INTEGER);", f"ALTER TABLE jobs ADD COLUMN added_{number} INTEGER;"]
    for statement in range(STATEMENTS):
        lines += ["SELECT tell();", f"INSERT INTO ran_{number} VALUES ({statement});"]
    return "\n".join(lines)


def _apply_without_the_lock(connection: sqlite3.Connection, number: int, script: str) -> None:
    for statement in _migrations._statements(script):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {_migrations.APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {number}")


# What stands in a file


def statements_run(database: Path) -> dict[int, int]:
    """Return how many statements of each newer migration have left their row."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        return {
            number: connection.execute(f"SELECT count(*) FROM ran_{number}").fetchone()[0]
            for number in NEWER
            if f"ran_{number}" in found
        }


def _version(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _jobs_in(database: Path) -> int:
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM jobs WHERE status = 'queued'").fetchone()[0])


def _everything_in(database: Path) -> Sequence[tuple[str, bytes]]:
    """Return every file that belongs to the store, with its content."""
    return sorted(
        (path.name, path.read_bytes()) for path in database.parent.rglob(f"{database.name}*") if path.is_file()
    )
