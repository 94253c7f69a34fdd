"""The SQLite store keeps every rule of the contract."""

from pathlib import Path

from asyncinfer.abc import Clock, JobStore
from asyncinfer.testing.store_suite import StoreSuite
from asyncinfer_sqlite import SQLiteStore


class TestSQLiteStore(StoreSuite):
    def make_store(self, clock: Clock, place: Path) -> JobStore:
        return SQLiteStore(place / "jobs.db", clock=clock)
