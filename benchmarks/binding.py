"""What binding costs: check a small input against a model's signature and encode it, beside encoding the same dict."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from asyncinfer import model
from benchmarks.records import Metrics

CALLS = 20_000
_TEXT = "a small input, such as a line of text"


@model
async def small(text: str, top_k: int, *, lang: str = "en") -> str:
    return f"{text}{top_k}{lang}"


async def bind() -> Metrics:
    return {"us": _microseconds(lambda: small.bind(_TEXT, 5, lang="de"))}


async def encode() -> Metrics:
    encoder = msgspec.msgpack.Encoder()
    return {"us": _microseconds(lambda: encoder.encode({"text": _TEXT, "top_k": 5, "lang": "de"}))}


def _microseconds(call: Callable[[], object]) -> float:
    """Return what one call costs, the loop and the lambda with it (below 0.1 us)."""
    for _ in range(1_000):
        call()
    begun = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - begun) / CALLS * 1e6
