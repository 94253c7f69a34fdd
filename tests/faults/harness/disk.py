"""A disk that forgets: what a power cut may leave of a recorded program's files.

A write lasts once its file has been synced, a name once its directory has been. Until then any part of the writes may
be there: in another order than written, and the last of them cut or full of holes at sector boundaries. Names come and
go in order, for every file system that we know keeps a journal of them.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal

from tests.faults.harness.system_calls import Created, Step, Synced, Truncated, Unlinked, Written

SECTOR = 512
"""Bytes that a disk writes wholly or not at all."""
Loss = Literal["everything", "nothing", "some", "torn"]


class File:
    """What of one file has reached the disk, and what may."""

    def __init__(self) -> None:
        self.durable = b""
        self.pending: list[Written | Truncated] = []
        self._size = 0

    def add(self, step: Written | Truncated) -> None:
        """Take a change that no sync has confirmed."""
        if isinstance(step, Truncated):
            self._size = step.size
        elif step.offset is None:
            step = Written(step.path, self._size, step.data)
            self._size += len(step.data)
        else:
            self._size = max(self._size, step.offset + len(step.data))
        self.pending.append(step)

    def sync(self) -> None:
        """Confirm all changes."""
        self.durable = _applied(self.durable, self.pending)
        self.pending = []

    def image(self, loss: Loss, randomness: random.Random) -> bytes:
        """Return what a power cut leaves now."""
        if loss == "everything":
            return self.durable
        if loss == "nothing":
            return _applied(self.durable, self.pending)
        if loss == "some":
            return _applied(self.durable, [step for step in self.pending if randomness.random() < 0.5])
        cut = self.pending[: randomness.randint(1, len(self.pending))] if self.pending else []
        if cut and isinstance(cut[-1], Written):
            return _applied(self.durable, [*cut[:-1], *_torn(cut[-1], randomness)])
        return _applied(self.durable, cut)


class Disk:
    """The files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._durable: dict[str, File] = {}
        self._names: dict[str, File] = {}
        self._pending: list[tuple[str, File | None]] = []

    def apply(self, step: Step) -> bool:
        """Take one step; tell whether it changed what may be on the disk."""
        if isinstance(step, Synced):
            return self._sync(step.path)
        if not self._holds(step.path):
            return False
        if isinstance(step, Created):
            is_new = step.path not in self._names
            if is_new:
                self._rename(step.path, File())
            return is_new
        if isinstance(step, Unlinked):
            self._rename(step.path, None)
        elif step.path in self._names:
            self._names[step.path].add(step)
        return True

    def images(self, loss: Loss, randomness: random.Random) -> dict[str, bytes]:
        """Return name and content of each file that a power cut leaves now."""
        kept = {"everything": 0, "nothing": len(self._pending)}.get(loss)
        names = dict(self._durable)
        _move(names, self._pending[: randomness.randint(0, len(self._pending)) if kept is None else kept])
        return {Path(path).name: file.image(loss, randomness) for path, file in names.items()}

    def _holds(self, path: str) -> bool:
        return path.rpartition("/")[0] == self._folder

    def _rename(self, path: str, file: File | None) -> None:
        self._pending.append((path, file))
        _move(self._names, [(path, file)])

    def _sync(self, path: str) -> bool:
        if path == self._folder:
            _move(self._durable, self._pending)
            self._pending = []
            return True
        file = self._names.get(path)
        if file is not None:
            file.sync()
        return file is not None


def _move(names: dict[str, File], changes: list[tuple[str, File | None]]) -> None:
    for path, file in changes:
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file


def _applied(content: bytes, steps: list[Written | Truncated]) -> bytes:
    if not steps:
        return content
    found = bytearray(content)
    for step in steps:
        if isinstance(step, Truncated):
            del found[step.size :]
            found.extend(bytes(step.size - len(found)))
            continue
        assert step.offset is not None
        found.extend(bytes(max(0, step.offset - len(found))))
        found[step.offset : step.offset + len(step.data)] = step.data
    return bytes(found)


def _torn(step: Written, randomness: random.Random) -> list[Written | Truncated]:
    """Return a part of the sectors of one write: a prefix, or any."""
    assert step.offset is not None
    ends = [*range(step.offset // SECTOR * SECTOR + SECTOR, step.offset + len(step.data), SECTOR)]
    ends.append(step.offset + len(step.data))
    sectors = list(zip([step.offset, *ends], ends, strict=False))
    if randomness.random() < 0.5:
        sectors = sectors[: randomness.randint(0, len(sectors))]
    else:
        sectors = [sector for sector in sectors if randomness.random() < 0.5]
    return [Written(step.path, start, step.data[start - step.offset : end - step.offset]) for start, end in sectors]
