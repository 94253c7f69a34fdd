"""Which files the demo identifies: every regular file of a folder that is the folder's own."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

HISTORIES = frozenset({".git", ".hg", ".svn"})
MARKS = ("pyvenv.cfg", "CACHEDIR.TAG")
"""A folder that holds one of these is a virtual environment, or a cache (bford.info/cachedir)."""


class Folder(Struct, frozen=True):
    """What was found below a folder, in order of path."""

    files: Sequence[str]
    """Absolute paths."""
    passed_by: Sequence[str]
    """Folders that were not entered, relative to the folder."""
    unnamed: int = 0
    """Files whose name is no text: a path that is no UTF-8 cannot be a job's `str`."""


def files_of(folder: Path, *, everything: bool = False) -> Folder:
    """Return every regular file below `folder`; symbolic links are not followed, unreadable folders are passed by.

    Unless `everything`, folders that hold version histories, virtual environments, caches and installed packages
    (`node_modules`, `__pycache__`) are passed by.
    """
    root = folder.resolve()
    files: list[str] = []
    closed: list[OSError] = []
    passed_by: list[str] = []
    unnamed = 0
    for place, folders, names in os.walk(root, onerror=closed.append):
        if not everything:
            foreign = [name for name in folders if _is_foreign(Path(place, name))]
            passed_by += [str(Path(place, name).relative_to(root)) for name in foreign]
            folders[:] = [name for name in folders if name not in foreign]
        folders.sort()
        paths = [path for name in sorted(names) if _is_regular(path := os.path.join(place, name))]  # noqa: PTH118  many
        texts = [path for path in paths if _is_text(path)]
        files += texts
        unnamed += len(paths) - len(texts)
    passed_by += [str(error.filename) for error in closed]
    return Folder(files, sorted(passed_by), unnamed)


def in_words(names: Iterable[str], *, at_most: int = 4) -> str:
    """Return the first names, and how many more there are."""
    listed = list(names)
    more = len(listed) - at_most
    return ", ".join(listed[:at_most]) + (f" and {more} more" if more > 0 else "")


def _is_foreign(folder: Path) -> bool:
    if folder.name in HISTORIES or folder.name in ("node_modules", "__pycache__"):
        return True
    return any((folder / mark).exists() for mark in MARKS)


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
