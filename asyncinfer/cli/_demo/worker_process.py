"""The program of the demo's second process: a worker, until it is killed or its parent is gone.

Run as `python -m asyncinfer.cli._demo.worker_process URL NUMBER`; its standard input is a pipe that the parent holds
open. From its attempt of that number on it stands still in each, to be killed at work.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time

from asyncinfer import JobManager, model
from asyncinfer.cli._demo.model import QUEUE, SLOTS, FileKind, IdentifyFile, identify

KILLED_WITHIN = 60.0
"""Seconds that an attempt stands still; then it goes on, so that a demo without a kill ends too."""


def standing_still_from(number: int) -> type[IdentifyFile]:
    """Return the model with a pause: on a busy machine all files would be done before anybody killed it at work."""
    attempts = itertools.count(1)

    class StandsStill(IdentifyFile):
        def predict(self, path: str) -> FileKind:
            if next(attempts) >= number:
                time.sleep(KILLED_WITHIN)
            return super().predict(path)

    return StandsStill


async def work_until_parent_ends(url: str, *, stands_still_from: int) -> None:
    """Run jobs until standard input is closed."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()
    loop.add_reader(stdin, lambda: None if os.read(stdin, 1) else ended.set())
    runs = model(standing_still_from(stands_still_from), name=identify.name, queue=QUEUE, executor="thread")
    try:
        async with JobManager(url, models=[runs], concurrency={"thread": SLOTS}, drain_grace=1.0):
            await ended.wait()
    finally:
        loop.remove_reader(stdin)


if __name__ == "__main__":
    asyncio.run(work_until_parent_ends(sys.argv[1], stands_still_from=int(sys.argv[2])))
