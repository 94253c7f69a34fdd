"""Prove that a process is dead: each opened store holds an flock on its own file, and the kernel frees it at death."""

from __future__ import annotations

import fcntl
import os
import secrets
import weakref
from pathlib import Path

from asyncinfer.errors import StoreUnusable

_UNLOCKED = ".new"


class LivenessLock:
    """This store's own locked file in the folder `<database>-workers`, and a look at those of others.

    `flock`, never `lockf`: POSIX record locks vanish when any descriptor of the file is closed in the process.
    """

    def __init__(self, database: Path) -> None:
        self._folder = database.with_name(database.name + "-workers")
        self.name = ""
        """Random for each `acquire`: a store that is opened again is another holder."""
        self.proves_death = False
        self.is_kept = False
        """Leave the file at `release`: a job still runs under it, and a free lock proves that its worker is gone."""
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Create and lock the file, and test that locks are shared here. Raise StoreUnusable."""
        self.name, self.is_kept = secrets.token_hex(8), False
        new = self._folder / (self.name + _UNLOCKED)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            is_locked = _try_lock(self._descriptor, fcntl.LOCK_EX)
            # It gets its name when it is locked: a free one of that name would be taken for a dead holder's.
            new.rename(self._folder / self.name)
        except OSError as error:
            raise StoreUnusable(f"no lock file can be made in {self._folder}: {error.strerror}") from error
        # A second descriptor must be refused; where it is not, locks are not shared, and only leases tell of a death.
        self.proves_death = is_locked and not self._is_free(self._folder / self.name)
        _close_in_children(self)

    def release(self) -> None:
        """Free the lock and remove the file. Idempotent."""
        if self._descriptor is None:
            return
        if not self.is_kept:
            (self._folder / self.name).unlink(missing_ok=True)
        self._close()

    def is_gone(self, name: str) -> bool:
        """Tell whether the holder of that lock is proven dead. A missing file proves nothing."""
        return self.proves_death and name != self.name and self._is_free(self._folder / name)

    def forget_dead(self, known: set[str]) -> None:
        """Remove files whose lock is free and which no worker of the store names any more."""
        for path in self._folder.iterdir():
            if path.suffix != _UNLOCKED and path.name not in known and self.is_gone(path.name):
                path.unlink(missing_ok=True)

    def _is_free(self, path: Path) -> bool:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            # Shared, so that two observers do not take each other for the holder.
            return _try_lock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


_held: weakref.WeakSet[LivenessLock] = weakref.WeakSet()


def _close_in_children(lock: LivenessLock) -> None:
    if not _held:
        os.register_at_fork(after_in_child=_close_all)
    _held.add(lock)


def _close_all() -> None:
    # A forked child shares the open file: were it kept open there, the lock would outlive this process.
    for lock in list(_held):
        lock._close()  # pyright: ignore[reportPrivateUsage]


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
