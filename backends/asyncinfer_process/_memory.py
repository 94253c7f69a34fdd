"""What the kernel says of memory: a process's own, and how often it has killed for want of it."""

from __future__ import annotations

import os
from pathlib import Path


def resident_bytes(pid: int) -> int | None:
    """Return how much memory a process has in use; None when it cannot be told."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def oom_kills() -> int | None:
    """Return how many processes of this process's cgroup the kernel has killed for want of memory, None if unknown."""
    for path in (_group_file("memory.events"), Path("/sys/fs/cgroup/memory/memory.oom_control")):
        try:
            for line in path.read_text().splitlines():
                name, _, count = line.partition(" ")
                if name == "oom_kill":
                    return int(count)
        except (OSError, ValueError):
            continue
    return None


def _group_file(name: str) -> Path:
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
    except OSError:
        group = "/"
    return Path("/sys/fs/cgroup") / group.lstrip("/") / name
