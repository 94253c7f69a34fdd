"""The jobs that the workloads run. Most return what they were given, so that every result can be checked."""

import asyncio
import os
import time

from asyncinfer import SetupContext

NAP_SECONDS = 0.1
LARGE_BYTES = 16 * 1024 * 1024


async def noop(n: int) -> int:
    return n


async def nap(n: int) -> int:
    await asyncio.sleep(NAP_SECONDS)
    return n


async def echo(data: bytes) -> bytes:
    return data


def blocking_noop(n: int) -> int:
    return n


def blocking_nap(n: int) -> int:
    time.sleep(NAP_SECONDS)
    return n


def blocking_echo(data: bytes) -> bytes:
    return data


def nap_and_tell(seconds: float) -> int:
    """Return which process has napped."""
    time.sleep(seconds)
    return os.getpid()


def burn(seconds: float) -> bytes:
    """Compute in pure Python for so long, then return 16 MiB."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return b"\xab" * LARGE_BYTES


class LoadedInASecond:
    """A model whose weights take a second to load."""

    def setup(self, context: SetupContext) -> None:
        time.sleep(1.0)

    def predict(self, seconds: float) -> float:
        return hold(seconds)


def hold(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
