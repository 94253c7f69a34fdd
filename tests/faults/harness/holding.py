"""Models whose first attempts hold up the process that runs them, once a file is there; later ones return at once.

They return the number of their attempt. Worker processes import this file.
"""

from __future__ import annotations

import asyncio
import ctypes
import time
from pathlib import Path

from asyncinfer import current_job, model
from tests.faults.harness.waiting import POLL_SECONDS, came_true
from tests.faults.harness.worker_faults import witness

PATIENCE_SECONDS = 60.0


@model
async def block_loop(go: str, seconds: float) -> int:
    """Stop the loop, and with it the heartbeats."""
    if is_first():
        await came_true(Path(go).exists, PATIENCE_SECONDS)
        tell("held")
        time.sleep(seconds)  # noqa: ASYNC251  that is the fault
    return end()


@model
async def wait(go: str, seconds: float) -> int:
    """Hold nothing up: it runs beside those that do."""
    if is_first():
        await came_true(Path(go).exists, PATIENCE_SECONDS)
        await asyncio.sleep(seconds)
    return end()


def hold_lock(go: str, seconds: float) -> int:
    """Stay in a call of C with the interpreter's lock: all of its process stands still."""
    if is_first():
        while not Path(go).exists():
            time.sleep(POLL_SECONDS)
        tell("held")
        ctypes.PyDLL(None).usleep(round(seconds * 1_000_000))
    return end()


hold_lock_in_thread = model(hold_lock, name="hold_lock_in_thread")
hold_lock_in_worker = model(hold_lock, name="hold_lock_in_worker", executor="process")


def is_first() -> bool:
    tell("begin")
    return current_job().attempt == 1


def end() -> int:
    tell("end")
    return current_job().attempt


def tell(event: str) -> None:
    job = current_job()
    witness().write(event, job.job_id, job.attempt)
