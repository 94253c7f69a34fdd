"""Jobs in one SQLite file: durable, shared by the processes of one host, with nothing to install or run."""

from asyncinfer_sqlite._store import SQLiteStore

__all__ = ["SQLiteStore"]
