"""Large inputs and results: as raw buffers, with few copies, both ways."""

from __future__ import annotations

import gc
import tracemalloc
from typing import Any

import msgspec
import numpy as np

from asyncinfer._codec import decode, encode
from asyncinfer.abc import MSGPACK, Call, CallItem, JobContext
from asyncinfer_process._memory import resident_bytes
from tests.backends import process_models as models
from tests.backends.process_stage import Stage, stage

LARGE = 16 * models.MIB


def call_of(one: Stage, code: object, data: bytes) -> Call:
    runner = one.runner(code)
    return Call(runner, [CallItem(data, MSGPACK, JobContext(one.notes, "job", "", runner.model, 1))])


async def test_an_array_travels_both_ways() -> None:
    array = np.arange(LARGE // 4, dtype=np.float32).reshape(64, -1)
    async with stage() as one:
        (outcome,) = await one.executor.run(call_of(one, models.negate, encode({"array": array})))

    back: Any = decode(outcome.result)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert np.array_equal(back, -array)


async def test_a_large_payload_is_not_copied_here() -> None:
    """The input lies here already: a result beside it makes one payload, and nothing more."""
    data = msgspec.msgpack.encode({"data": bytes(LARGE)})
    async with stage() as one:
        await one.executor.run(call_of(one, models.echo, data))
        gc.collect()
        tracemalloc.start()
        try:
            (outcome,) = await one.executor.run(call_of(one, models.echo, data))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert len(outcome.result) > LARGE
    assert peak < 1.1 * LARGE


async def test_nothing_of_a_large_call_is_kept_once_it_has_ended() -> None:
    async with stage() as one:
        await one.result(models.size, data=b"")
        (pid,) = one.executor.pids
        before = resident_bytes(pid)
        for data in (bytes(4 * LARGE), b""):
            await one.executor.run(call_of(one, models.size, msgspec.msgpack.encode({"data": data})))
        after = resident_bytes(pid)

    assert before is not None
    assert after is not None
    assert after - before < LARGE
