"""What processes saw, written down by themselves: a test that asked the store alone would trust what it tests."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct


class Line(Struct, frozen=True, omit_defaults=True):
    """One thing that one process saw. `at` is the monotonic clock, which the processes of a host share."""

    at: float
    pid: int
    event: str
    job: str = ""
    attempt: int = 0
    note: str = ""


class Witness:
    """Writes lines into a file of this process. What it has written survives the process: one line, one write."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._pid = os.getpid()
        path = folder / f"{time.monotonic_ns()}-{self._pid}.jsonl"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, event: str, job: str = "", attempt: int = 0, note: str = "") -> None:
        """Write one line; from any thread."""
        line = Line(time.monotonic(), self._pid, event, job, attempt, note)
        os.write(self._file, msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        os.close(self._file)


class Testimony:
    """The lines of the witnesses in a folder, of one process or of all, read on from where the last look ended."""

    __test__ = False  # pytest takes the name for a test's

    def __init__(self, folder: Path, pid: int | None = None) -> None:
        self._folder = folder
        self._files = "*.jsonl" if pid is None else f"*-{pid}.jsonl"
        self._offsets: dict[Path, int] = {}
        self._lines: list[Line] = []
        self._decoder = msgspec.json.Decoder(Line)

    def lines(self, *events: str) -> Sequence[Line]:
        """Return what has been written so far, of these events or of all, in order of time."""
        for path in self._folder.glob(self._files):
            self._read(path)
        self._lines.sort(key=lambda line: line.at)
        return [line for line in self._lines if not events or line.event in events]

    def _read(self, path: Path) -> None:
        offset = self._offsets.get(path, 0)
        with path.open("rb") as file:
            file.seek(offset)
            # A line without its end is being written, or its writer was killed in it.
            *whole, _ = file.read().split(b"\n")
        self._lines += [self._decoder.decode(line) for line in whole]
        self._offsets[path] = offset + sum(len(line) + 1 for line in whole)
