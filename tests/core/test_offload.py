"""Heavy work off the loop: who calls it, in what order, and what comes back."""

import asyncio
import threading
import time
from contextvars import ContextVar

import pytest

from asyncinfer._offload import offload

PATIENCE_SECONDS = 10
spoken: ContextVar[str] = ContextVar("spoken")


async def test_work_is_called_in_order_and_off_the_loop() -> None:
    called: list[tuple[int, bool]] = []
    here = threading.get_ident()

    def call(n: int) -> int:
        called.append((n, threading.get_ident() == here))
        return -n

    values = await asyncio.gather(*(offload(call, n) for n in range(100)))

    assert values == [-n for n in range(100)]
    assert called == [(n, False) for n in range(100)]


async def test_one_call_runs_at_a_time() -> None:
    running = threading.Lock()

    def is_alone() -> bool:
        if not running.acquire(blocking=False):
            return False
        time.sleep(0.001)  # long enough for another thread to meet it
        running.release()
        return True

    assert all(await asyncio.gather(*(offload(is_alone) for _ in range(20))))


@pytest.mark.parametrize("error", [ValueError, StopIteration])
async def test_an_error_is_raised_where_it_is_awaited(error: type[Exception]) -> None:
    def fail() -> None:
        raise error("no")

    with pytest.raises((error, RuntimeError), match=r"no|StopIteration"):
        await offload(fail)

    assert await offload(int, "1") == 1


async def test_a_call_sees_the_context_variables_of_its_caller() -> None:
    spoken.set("here")

    assert await offload(spoken.get) == "here"


async def test_work_that_nobody_awaits_any_more_is_not_called() -> None:
    begun, may_end = threading.Event(), threading.Event()
    called: list[str] = []

    def hold() -> None:
        begun.set()
        may_end.wait(PATIENCE_SECONDS)

    first = asyncio.create_task(offload(hold))
    await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
    canceled = asyncio.create_task(offload(called.append, "canceled"))
    last = asyncio.create_task(offload(called.append, "last"))
    await asyncio.sleep(0)
    canceled.cancel()
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.gather(first, last)

    assert called == ["last"]


def test_each_loop_has_a_line_of_its_own() -> None:
    for _ in range(3):
        assert asyncio.run(offload(int, "1")) == 1
