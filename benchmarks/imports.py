"""What `import asyncinfer` costs, beside the three packages it stands on, each in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

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
    run = partial(subprocess.run, command, capture_output=True, text=True, check=True, env=_with_bytecode())
    run()  # whoever imports a second time finds the bytecode that the first has written
    milliseconds, *loaded = run().stdout.split()
    return float(milliseconds), set(loaded)


def _with_bytecode() -> dict[str, str]:
    """Return the environment without the switch that makes every import compile its sources again."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
