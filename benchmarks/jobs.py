"""The jobs that the workloads run. Each returns what it was given, so that every result can be checked."""

import asyncio
import time

NAP_SECONDS = 0.1


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
