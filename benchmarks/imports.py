"""What `import asyncinfer` costs, beside the three packages it stands on, each in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.records import Metrics

PARTS = "anyio + msgspec + asyncio"
UNWANTED = ("aiosqlite", "sqlite3", "redis", "torch", "numpy", "httpx", "pydantic", "starlette")
"""Drivers and giants: only who asks for them pays for them."""

_PROGRAM = """
import sys, time
begun = time.perf_counter()
import {modules}
print((time.perf_counter() - begun) * 1e3, *sys.modules)
"""


async def library() -> Metrics:
    milliseconds, loaded = _import("asyncinfer")
    return {"ms": milliseconds, "unwanted": len(loaded.intersection(UNWANTED))}


async def parts() -> Metrics:
    milliseconds, _ = _import("anyio, msgspec, asyncio")
    return {"ms": milliseconds}


def _import(modules: str) -> tuple[float, set[str]]:
    command = [sys.executable, "-c", _PROGRAM.format(modules=modules)]
    milliseconds, *loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(milliseconds), set(loaded)
