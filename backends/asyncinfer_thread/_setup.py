"""A model's setup and teardown, in a thread: loading weights may take minutes."""

from __future__ import annotations

import asyncio
from functools import partial

from asyncinfer.abc import Runner, SetupContext
from asyncinfer.errors import SetupFailed
from asyncinfer_thread._threads import Threads


async def set_up(runner: Runner, context: SetupContext, threads: Threads) -> None:
    """Run the model's setup in one of `threads`. Raise SetupFailed, whatever the setup raised.

    A setup whose await is canceled goes on in its thread: weights that are half loaded cannot be left.
    """
    work = threads.submit(partial(runner.setup, context))
    try:
        await work.future
    except asyncio.CancelledError:
        threads.abandon(work)
        raise
    if isinstance(work.error, SetupFailed):
        raise work.error
    if work.error is not None:
        raise SetupFailed(f"the setup of model {runner.model!r} raised {work.error!r}") from work.error


async def tear_down(runner: Runner, threads: Threads) -> None:
    """Run the model's teardown in one of `threads`."""
    work = threads.submit(runner.teardown)
    try:
        await work.future
    except asyncio.CancelledError:
        threads.abandon(work)
        raise
