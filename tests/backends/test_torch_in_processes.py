"""torch in worker processes: its threads, and tensors on their way; needs the extra `torch`."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asyncinfer import JobManager, Limits, model
from asyncinfer._codec import encode
from asyncinfer.abc import MSGPACK, Call, CallItem, JobContext, Outcome, SetupContext
from asyncinfer_process import ProcessExecutor
from tests.backends.torch_models import Echo, OneThread, ThreadsOfSetup, threads_of_late_import

# Any: torch is optional, so its types cannot be named here.
torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

CORES = os.cpu_count() or 1
MIB = 1024 * 1024
SIZE = 32 * MIB
LIMITS = Limits(input_bytes=2 * SIZE, result_bytes=2 * SIZE)


@asynccontextmanager
async def manager_of(made: Any, slots: int) -> AsyncGenerator[JobManager]:
    async with JobManager("memory://", models=[made], executors={"process": ProcessExecutor(slots)}) as manager:
        yield manager


@pytest.mark.parametrize("code", [threads_of_late_import, ThreadsOfSetup])
@pytest.mark.parametrize(("slots", "threads"), [(1, CORES), (CORES, 1)])
async def test_the_workers_share_the_cores(code: Any, slots: int, threads: int) -> None:
    counting = model(code, executor="process")
    async with manager_of(counting, slots) as manager:
        job = await manager.submit(counting)
        assert await job.result(timeout=60) == threads


async def test_a_model_that_asks_for_fewer_threads_keeps_them() -> None:
    counting = model(OneThread, executor="process")
    async with manager_of(counting, 1) as manager:
        job = await manager.submit(counting)
        assert await job.result(timeout=60) == 1


async def test_a_tensor_comes_back_bit_for_bit() -> None:
    echo = model(Echo, executor="process")
    sent = torch.tensor([[1.5, float("nan")], [-0.0, float("inf")]], dtype=torch.bfloat16)
    async with manager_of(echo, 1) as manager:
        job = await manager.submit(echo, sent)
        back = await job.result(timeout=60)

    assert (back.dtype, back.shape) == (sent.dtype, sent.shape)
    assert torch.equal(back.view(torch.int16), sent.view(torch.int16))


async def test_a_tensor_is_copied_no_more_than_its_codec_must() -> None:
    """Here once its bytes: the result. There 4.5 times: the input, its tensor, the extension, an encoder's buffer."""
    echo = model(Echo, executor="process")
    runner = echo.runner(LIMITS)
    tensor = torch.arange(SIZE // 4, dtype=torch.float32)
    executor = ProcessExecutor(1, env={"PYTHONTRACEMALLOC": "1"})
    await executor.start(lambda: None)
    try:
        await executor.prepare(runner, SetupContext(model=runner.model, executor="process"))

        async def run(value: Any) -> bytes:
            context = JobContext(Unheard(), job_id="job_1", owner="", model=runner.model, attempt=1)
            data = echo.bind(value).input
            tracemalloc.start()
            try:
                (outcome,) = await executor.run(Call(runner, [CallItem(data, MSGPACK, context)]))
                peaks.append(tracemalloc.get_traced_memory()[1] / SIZE)
            finally:
                tracemalloc.stop()
            return returned(outcome)

        peaks: list[float] = []
        assert await run(tensor) == encode(tensor)
        there = int(echo.definition.decode_result(await run(torch.empty(0)))[0]) / SIZE
    finally:
        await executor.close(0)

    assert peaks[0] < 1.1
    assert there < 4.6


class Unheard:
    """A reporter for models that say nothing."""

    def report(self, progress: object) -> None: ...

    def emit(self, data: bytes) -> None: ...

    def save_checkpoint(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...


def returned(outcome: Outcome) -> bytes:
    assert outcome.kind == "returned", outcome
    return outcome.result
