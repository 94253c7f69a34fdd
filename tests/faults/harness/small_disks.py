"""Disks that are soon full: a small file system of memory, or a database with a bound on its pages."""

from __future__ import annotations

import errno
import sqlite3
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from asyncinfer_sqlite import _database, _writer
from asyncinfer_sqlite._connections import Synchronous, configure_writer

MIB = 1024 * 1024
DISK_BYTES = 80 * MIB
PAGE_BYTES = 4096


class SmallDisk(Protocol):
    """A place for one database, `folder / "jobs.db"`."""

    @property
    def folder(self) -> Path: ...

    def fill(self) -> None:
        """Take all the room that is left, as other programs might."""
        ...

    def free(self) -> None:
        """Give it back, and more."""
        ...


class MountedDisk:
    """A file system of its own, whose kernel says that it is full."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        self._ballast.write_bytes(bytes(DISK_BYTES // 2))

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as ballast, _quietly_full():
            while ballast.write(bytes(PAGE_BYTES)) == PAGE_BYTES:
                pass

    def free(self) -> None:
        self._ballast.unlink()

    def make_read_only(self) -> None:
        _run("mount", "-o", "remount,ro", str(self.folder))


class BoundedPages:
    """A database that may have only so many pages: SQLite says that the disk is full, and statvfs is told to agree."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._most = DISK_BYTES // 2 // PAGE_BYTES
        self._writer: sqlite3.Connection | None = None
        patch.setattr(_database, "configure_writer", self._configure)
        patch.setattr(_writer, "free_bytes", self._free_bytes)

    def fill(self) -> None:
        self._most = 0

    def free(self) -> None:
        self._most = 2 * DISK_BYTES // PAGE_BYTES

    def _configure(self, connection: sqlite3.Connection, synchronous: Synchronous) -> None:
        configure_writer(connection, synchronous)
        self._writer = connection

    def _free_bytes(self, folder: Path) -> int:
        # Asked by the writer's own thread, in front of each batch: there the bound may be set, too.
        assert self._writer is not None
        (most,) = self._writer.execute(f"PRAGMA max_page_count = {max(1, self._most)}").fetchone()
        (used,) = self._writer.execute("PRAGMA page_count").fetchone()
        return int(most - used) * PAGE_BYTES


@contextmanager
def mounted_disk(folder: Path) -> Generator[MountedDisk]:
    """Mount a small file system; skip the test where that is not permitted."""
    folder.mkdir()
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a file system can only be mounted with the right to: {error}")
    try:
        yield MountedDisk(folder)
    finally:
        _run("umount", "--lazy", str(folder))


@contextmanager
def _quietly_full() -> Generator[None]:
    """Leave the block quietly when the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
