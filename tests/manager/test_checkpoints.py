"""What a model saves for a later attempt has a bound."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from asyncinfer import JobFailed, JobManager, Limits, RetryPolicy, current_job, model

OpenManager = Callable[..., JobManager]
LIMIT = 1_000


@model
def saves(size: int) -> str:
    current_job().save_checkpoint(b"x" * size)
    return "saved"


@model(retry=RetryPolicy(max_attempts=2, initial_delay=0, max_delay=0))
def saves_too_much_at_last() -> str:
    ctx = current_job()
    found = ctx.load_checkpoint(str)
    ctx.save_checkpoint("small" if found is None else found)
    if found is None:
        ctx.save_checkpoint("x" * 2 * LIMIT)
    return found or ""


async def test_a_checkpoint_over_its_limit_is_refused_with_both_numbers(open_manager: OpenManager) -> None:
    async with open_manager(saves, limits=Limits(checkpoint_bytes=LIMIT)) as manager:
        assert await (await manager.submit(saves, LIMIT - 10)) == "saved"
        with pytest.raises(JobFailed, match=r"checkpoint: 2003 bytes, the limit is 1000") as caught:
            await (await manager.submit(saves, 2 * LIMIT))
        assert caught.value.error.type == "asyncinfer.errors.TooLarge"


async def test_what_was_saved_before_outlives_a_refused_checkpoint(open_manager: OpenManager) -> None:
    async with open_manager(saves_too_much_at_last, limits=Limits(checkpoint_bytes=LIMIT)) as manager:
        assert await (await manager.submit(saves_too_much_at_last)) == "small"
