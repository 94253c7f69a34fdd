"""Bring a file to this code's schema: numbered scripts, each in one exclusive transaction together with its number."""

from __future__ import annotations

import sqlite3
from functools import partial

from asyncinfer.errors import SchemaTooNew, StoreUnusable
from asyncinfer_sqlite._connections import retry_while_busy
from asyncinfer_sqlite._sql import migrations

APPLICATION_ID = 0x61736E66
"""`asnf`: marks the file as ours (sqlite.org, the database header's offset 68)."""


def migrate(connection: sqlite3.Connection, path: str) -> None:
    """Create or upgrade the schema. Raise SchemaTooNew, or StoreUnusable for a file that is not ours.

    A process that dies half-way leaves nothing: its transaction is rolled back by the next that opens the file.
    """
    scripts = migrations()
    newest = scripts[-1][0]
    retry_while_busy(lambda: _check_identity(connection, path, newest))
    retry_while_busy(lambda: _choose_format(connection))
    for number, script in scripts:
        if _version(connection) < number:
            retry_while_busy(partial(_apply, connection, number, script))
    retry_while_busy(lambda: _check_identity(connection, path, newest))


def _check_identity(connection: sqlite3.Connection, path: str, newest: int) -> None:
    # In one snapshot: were the schema made between two of these reads, the file would look like another program's.
    connection.execute("BEGIN")
    try:
        identity = connection.execute("PRAGMA application_id").fetchone()[0]
        version = _version(connection)
        is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    finally:
        connection.execute("ROLLBACK")
    if identity != APPLICATION_ID and not (identity == 0 and version == 0 and is_empty):
        raise StoreUnusable(f"{path} is an SQLite database of another program: name another path")
    if version > newest:
        raise SchemaTooNew(f"{path} has schema {version}, this asyncinfer knows up to {newest}: upgrade asyncinfer")


def _choose_format(connection: sqlite3.Connection) -> None:
    # Both lie in the first page, and auto_vacuum can only be chosen before that page is written.
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL").fetchone()


def _apply(connection: sqlite3.Connection, number: int, script: str) -> None:
    connection.execute("BEGIN EXCLUSIVE")
    try:
        # Another process may have run it while this one waited for the lock.
        if _version(connection) < number:
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    # `executescript` would commit before it begins, outside our transaction.
    found: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    return found


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
