"""No statement of the SQLite store walks through a table that grows with the jobs."""

import re
import sqlite3
from importlib.resources import files
from pathlib import Path

import pytest

from asyncinfer_sqlite import SQLiteStore
from asyncinfer_sqlite._sql import Statement, load

GROWING = {"jobs", "inputs", "results", "checkpoints", "keys", "attempts", "reports", "outputs"} | {
    "subscriptions",
    "owed",
    "deliveries",
    "delivery_attempts",
}
GROUPS = sorted(
    entry.name.removesuffix(".sql")
    for entry in (files("asyncinfer_sqlite") / "sql").iterdir()
    if entry.name.endswith(".sql")
)
STATEMENTS = [statement for group in GROUPS for statement in load(group).values()]
# It holds what runs now, which the workers' slots bound.
BOUNDED = "USING INDEX jobs_running"


@pytest.fixture
async def schema(tmp_path: Path) -> sqlite3.Connection:
    store = SQLiteStore(tmp_path / "jobs.db")
    await store.open()
    await store.close()
    return sqlite3.connect(store.path, isolation_level=None)


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: statement.name)
async def test_a_statement_searches(statement: Statement, schema: sqlite3.Connection) -> None:
    plan = plan_of(schema, statement.text)
    schema.close()

    assert not [step for step in plan if walks(step)], plan


async def test_a_statement_that_walks_is_seen(schema: sqlite3.Connection) -> None:
    plan = plan_of(schema, "SELECT n FROM jobs WHERE worker = ?")
    schema.close()

    assert [step for step in plan if walks(step)]


def plan_of(connection: sqlite3.Connection, text: str) -> list[str]:
    count = max(map(int, re.findall(r"\?(\d+)", text)), default=text.count("?"))
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", [None] * count)]


def walks(step: str) -> bool:
    words = step.split()
    return words[0] == "SCAN" and words[1] in GROWING and BOUNDED not in step
