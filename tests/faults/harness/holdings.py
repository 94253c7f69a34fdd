"""What this process holds of the machine: descriptors, threads, and processes of groups that it began (Linux)."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from msgspec import Struct


class Holdings(Struct, frozen=True):
    """Counts to compare before and after."""

    descriptors: int
    threads: int
    children: int


def holdings() -> Holdings:
    return Holdings(
        descriptors=len(os.listdir("/proc/self/fd")),  # noqa: PTH208  the listing's own descriptor is in every count
        threads=len(threading.enumerate()),
        children=sum(parent == os.getpid() for parent, _ in _living().values()),
    )


def of_workers(pids: Collection[int]) -> Collection[int]:
    """Return the living processes of the groups of these worker processes."""
    return [pid for pid, (_, group) in _living().items() if group in pids and _is_worker(pid)]


def _is_worker(pid: int) -> bool:
    try:
        return b"asyncinfer_process.child" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _living() -> Mapping[int, tuple[int, int]]:
    """Return the parent and the group of every process that has not ended."""
    found: dict[int, tuple[int, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, group, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just gone
        if state != "Z":
            found[int(path.parent.name)] = (int(parent), int(group))
    return found
