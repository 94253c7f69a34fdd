"""The program of the demo's second process: a worker, until it is killed or its parent is gone.

Run as `python -m asyncinfer.cli._demo.worker_process URL`; its standard input is a pipe that the parent holds open.
With `--stand-still` it stops itself (SIGSTOP) in every attempt, until the parent lets it go on or kills it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from asyncinfer import JobManager, model
from asyncinfer.cli._demo.model import QUEUE, SLOTS, FileKind, IdentifyFile, identify

STAND_STILL = "--stand-still"


class StandsStill(IdentifyFile):
    """So few files would be done before anybody could kill it at work."""

    def predict(self, path: str) -> FileKind:
        os.kill(os.getpid(), signal.SIGSTOP)
        return super().predict(path)


async def work_until_parent_ends(url: str, *, stands_still: bool) -> None:
    """Run jobs until standard input is closed."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()
    loop.add_reader(stdin, lambda: None if os.read(stdin, 1) else ended.set())
    runs = model(StandsStill, name=identify.name, queue=QUEUE, executor="thread") if stands_still else identify
    try:
        async with JobManager(url, models=[runs], concurrency={"thread": SLOTS}, drain_grace=1.0):
            await ended.wait()
    finally:
        loop.remove_reader(stdin)


if __name__ == "__main__":
    asyncio.run(work_until_parent_ends(sys.argv[1], stands_still=STAND_STILL in sys.argv))
