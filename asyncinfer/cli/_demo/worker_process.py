"""The program of the demo's second process: a worker, until it is killed or its parent is gone.

Run as `python -m asyncinfer.cli._demo.worker_process URL`; its standard input is a pipe that the parent holds open.
"""

from __future__ import annotations

import asyncio
import os
import sys

from asyncinfer import JobManager
from asyncinfer.cli._demo.model import SLOTS, identify


async def work_until_parent_ends(url: str) -> None:
    """Run jobs until standard input is closed."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    stdin = sys.stdin.fileno()
    loop.add_reader(stdin, lambda: None if os.read(stdin, 1) else ended.set())
    try:
        async with JobManager(url, models=[identify], concurrency={"thread": SLOTS}, drain_grace=1.0):
            await ended.wait()
    finally:
        loop.remove_reader(stdin)


if __name__ == "__main__":
    asyncio.run(work_until_parent_ends(sys.argv[1]))
