"""From SQLite's errors to the library's: wrapped once, here."""

from __future__ import annotations

import sqlite3

from asyncinfer.errors import AsyncinferError, StorageFull, StoreUnavailable, StoreUnusable, Undecodable

_UNUSABLE = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_TRANSIENT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_INTERRUPT,
    }
)


def code_of(error: sqlite3.Error) -> int:
    """Return the primary result code; 0 where sqlite3 itself raised."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another connection holds the lock that was needed."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_full(error: sqlite3.Error) -> bool:
    """Tell whether the disk, or the database's own bound, is full."""
    return code_of(error) == sqlite3.SQLITE_FULL


def is_of_the_file(error: BaseException) -> bool:
    """Tell whether the whole file or disk fails, so that repeating a batch item by item is no use."""
    return isinstance(error, sqlite3.Error) and code_of(error) in _UNUSABLE | _TRANSIENT


def typed(error: sqlite3.Error) -> AsyncinferError:
    """Return the library's error for one of SQLite's, after which nothing has changed."""
    name = getattr(error, "sqlite_errorname", "SQLITE_ERROR")
    if code_of(error) in _UNUSABLE:
        return StoreUnusable(f"the database cannot be used: {error} ({name})")
    if is_full(error):
        return StoreUnavailable(f"the disk is full: {error}; free some space ({name})")
    return StoreUnavailable(f"the database did not do it: {error} ({name})")


def unreadable(error: Exception) -> AsyncinferError:
    """Return the library's error for whatever a damaged row made fail, after which nothing has changed."""
    if isinstance(error, AsyncinferError):
        return error
    if isinstance(error, sqlite3.Error):
        return typed(error)
    return Undecodable(f"a stored row cannot be read back: {type(error).__name__}: {error}")


def refused_insert(error: sqlite3.Error) -> AsyncinferError:
    """Return what a submitter is told when the disk is full."""
    return StorageFull(f"the disk is full, new jobs are refused: {error}", limit="min_free_bytes", retry_after=30.0)
