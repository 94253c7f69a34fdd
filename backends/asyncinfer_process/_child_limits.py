"""In the worker process: what it may take of the machine."""

from __future__ import annotations

import contextlib
import os
import resource
import sys


def limit_memory(limit: int) -> None:
    """Let allocations above `limit` bytes fail, so that the code sees a MemoryError and only its job ends.

    RLIMIT_DATA counts private writable memory. RLIMIT_AS would count mere reservations, of which torch makes 800 MB.
    """
    with contextlib.suppress(ValueError, OSError):  # a lower hard limit holds already
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def limit_threads(threads: int) -> None:
    """Keep torch from taking every core in every worker; a model that asked for fewer threads keeps its number."""
    torch = sys.modules.get("torch")
    if torch is None:
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # it reads this where a call is the first to import it
    elif hasattr(torch, "set_num_threads"):
        torch.set_num_threads(min(threads, torch.get_num_threads()))
