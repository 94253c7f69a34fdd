"""Dense CPU tensors in and out of a worker process; needs the extra `torch`."""

from __future__ import annotations

from typing import Any

import pytest

from asyncinfer._codec import decode, encode
from asyncinfer.abc import MSGPACK, Call, CallItem, JobContext
from tests.backends.process_stage import stage

# Any: torch is optional, so its types cannot be named here.
torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")


async def test_a_tensor_travels_both_ways() -> None:
    from tests.backends import process_torch_models as models

    tensor = torch.arange(4 * 1024 * 1024, dtype=torch.float32).reshape(64, -1)
    async with stage() as one:
        runner = one.runner(models.halve)
        context = JobContext(one.notes, "job", "", runner.model, 1)
        (outcome,) = await one.executor.run(Call(runner, [CallItem(encode({"tensor": tensor}), MSGPACK, context)]))

    assert torch.equal(decode(outcome.result), tensor / 2)


async def test_torch_takes_its_share_of_the_cores() -> None:
    from tests.backends import process_torch_models as models

    async with stage(1000) as one:
        assert await one.result(models.threads) == 1
