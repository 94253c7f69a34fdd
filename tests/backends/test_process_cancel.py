"""How a call in a worker process is stopped: asked, or ended by force; and who is left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from asyncinfer.abc import Outcome
from asyncinfer_process._worker import Worker
from tests.backends import process_models as models
from tests.backends.process_stage import Stage, error_of, has_gone, result_of, stage

CANCELED = Outcome("canceled")


async def test_one_item_of_a_batch_hears_that_it_is_canceled() -> None:
    async with stage() as one:
        call = one.call(models.ObeyOneByOne, {"number": 1}, {"number": 1})
        running = one.begin(call)
        await one.notes.message("")  # it has begun
        one.executor.cancel(call, call.items[1])

        assert [result_of(outcome) for outcome in await running] == [False, True]


async def test_a_call_that_is_canceled_while_its_model_is_loaded_does_not_run() -> None:
    async with stage() as one:
        call = one.call(models.Gated, {}, name=f"gated-{one.gate.address}")
        running = one.begin(call)
        await one.gate.entered("setup")
        one.executor.cancel(call)

        assert await running == [CANCELED]
        assert one.executor.state(call.runner) == "loading"  # for whoever comes next


async def test_an_item_that_is_canceled_while_its_model_is_loaded_runs_canceled() -> None:
    async with stage() as one:
        call = one.call(models.HeldBatch, {"number": 0}, {"number": 1}, name=f"held-{one.gate.address}")
        running = one.begin(call)
        await one.gate.entered("setup")
        one.executor.cancel(call, call.items[1])
        one.gate.open("setup")

        assert [result_of(outcome) for outcome in await running][1] is True
        one.gate.open("teardown")


async def test_a_call_that_waits_is_ended_when_its_last_item_is_canceled_or_by_force() -> None:
    async with stage() as one:
        running = one.begin(one.call(models.pass_gate, one_gate(one, "a")))
        await one.gate.entered("a")
        calls = [one.call(models.Doublers, {"number": 1}, {"number": 2}) for _ in range(2)]
        waiting = [one.begin(call) for call in calls]
        await asyncio.sleep(0)
        for item in calls[0].items:
            one.executor.cancel(calls[0], item)
        one.executor.cancel(calls[1], calls[1].items[0], hard=True)

        assert await asyncio.gather(*waiting) == [[CANCELED] * 2] * 2
        one.gate.open("a")
        await running


def one_gate(one: Stage, name: str) -> dict[str, object]:
    return {"gate": one.gate.address, "name": name}


async def test_calls_canceled_or_abandoned_at_any_moment_leave_every_slot_free() -> None:
    async with stage(2) as one:
        await one.result(models.double, number=1)
        for number in range(200):
            call = one.call(models.double, {"number": number})
            running = one.begin(call)
            for _ in range(number % 5):
                await asyncio.sleep(0)
            if number % 2:
                one.executor.cancel(call)
            else:
                running.cancel()
            await asyncio.wait([running])
        await one.until_free(2)

        assert await asyncio.gather(*(one.result(models.double, number=number) for number in range(9))) == [
            2 * number for number in range(9)
        ]
        assert (one.executor.free, one.executor.abandoned) == (2, 0)


async def test_a_hard_cancel_ends_code_that_is_deaf_to_sigterm_after_kill_after() -> None:
    async with stage(kill_after=0.2) as one:
        call = one.call(models.ignore_sigterm, {"gate": one.gate.address})
        running = one.begin(call)
        await one.gate.entered("deaf")
        (pid,) = one.executor.pids
        one.gate.open("deaf")
        began = time.monotonic()
        one.executor.cancel(call, hard=True)

        assert await running == [CANCELED]
        assert 0.2 <= time.monotonic() - began < 2
        await has_gone(pid)


async def test_a_hard_cancel_ends_code_that_holds_the_interpreter_lock_and_nobody_else() -> None:
    async with stage(2) as one:
        call = one.call(models.hold_gil, {"gate": one.gate.address})
        running = one.begin(call)
        await one.gate.entered("holding")
        neighbour = one.begin(one.call(models.pass_gate, one_gate(one, "b")))
        await one.gate.entered("b")
        one.gate.open("holding")
        await one.gate.left("holding")
        began = time.monotonic()
        one.executor.cancel(call, hard=True)
        one.gate.open("b")

        assert await running == [CANCELED]
        assert time.monotonic() - began < 2
        assert (await neighbour)[0].kind == "returned"


async def test_a_time_limit_ends_only_its_own_call() -> None:
    async with stage(2) as one:
        neighbour = one.begin(one.call(models.pass_gate, one_gate(one, "b")))
        await one.gate.entered("b")
        (outcome,) = await one.executor.run(one.call(models.obey, one_gate(one, "a"), time_limit=0.05))
        one.gate.open("b")

        assert outcome.kind == "time_limit"
        assert error_of(outcome).message == "the attempt took longer than its time_limit of 0.05 s"
        assert (await neighbour)[0].kind == "returned"


async def test_a_time_limit_is_not_spent_on_loading_the_model() -> None:
    async with stage() as one:
        call = one.call(models.Gated, {}, name=f"gated-{one.gate.address}", time_limit=0.05)
        running = one.begin(call)
        await one.gate.entered("setup")
        await asyncio.sleep(0.1)  # longer than its limit
        one.gate.open("setup")

        assert (await running)[0].kind == "returned"
        one.gate.open("teardown")


def deaf(worker: Worker, number: int) -> None:
    """Let no signal through."""


async def test_a_process_that_is_being_ended_takes_no_other_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes while the signal is on its way: the next call must not die of it."""
    async with stage() as one:
        call = one.call(models.pass_gate, one_gate(one, "a"))
        running = one.begin(call)
        await one.gate.entered("a")
        with monkeypatch.context() as patch:
            patch.setattr(Worker, "_signal", deaf)
            one.executor.cancel(call, hard=True)
            one.gate.open("a")
            killed = result_of((await running)[0])
        following = one.begin(one.call(models.pass_gate, one_gate(one, "a")))
        await asyncio.sleep(0)
        os.kill(killed, signal.SIGKILL)

        assert result_of((await following)[0]) != killed
