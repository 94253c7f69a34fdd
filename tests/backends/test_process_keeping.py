"""Which processes are kept: recycling, spares, models that share a slot, devices, the environment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from asyncinfer.errors import InvalidOption
from asyncinfer_process import ProcessExecutor
from tests.backends import process_models as models
from tests.backends.process_stage import result_of, stage


@pytest.mark.parametrize("habits", [{"max_jobs": 1}, {"max_age": 0.0}, {"max_rss": 1}])
async def test_a_worn_process_is_replaced_between_two_calls(habits: dict[str, Any]) -> None:
    async with stage(**habits) as one:
        pids = {await one.result(models.pid) for _ in range(3)}

    assert len(pids) == 3


async def test_a_process_is_kept_until_it_is_worn() -> None:
    async with stage(max_jobs=2, max_age=600.0, max_rss=2**40) as one:
        first, second, third = [await one.result(models.pid) for _ in range(3)]

    assert first == second != third


async def test_after_a_kill_the_next_call_runs_on_the_spare() -> None:
    async with stage(spares=1) as one:
        name = f"waiting-{one.gate.address}"
        victim = one.call(models.Waiting, {}, name=name)
        one.gate.open("setup")
        running = one.begin(victim)
        await one.gate.entered("predict")
        while one.gate.visits["setup"] < 2:
            await one.gate.entered("setup")
        both = set(one.executor.pids)
        one.executor.cancel(victim, hard=True)
        await running
        one.gate.open("predict")
        (outcome,) = await one.executor.run(one.call(models.Waiting, {}, name=name))

        assert result_of(outcome) in both
        one.gate.open("teardown")


async def test_two_models_take_turns_on_one_slot_and_the_idle_one_is_torn_down() -> None:
    async with stage() as one:
        name = f"gated-{one.gate.address}"
        one.gate.open("setup")
        (first,) = await one.executor.run(one.call(models.Gated, {}, name=name))
        other = asyncio.create_task(one.result(models.double, number=4))
        await one.gate.entered("teardown")
        pids_meanwhile = one.executor.pids
        one.gate.open("teardown")

        assert await other == 8
        assert pids_meanwhile == [result_of(first)]
        assert one.executor.state(one.runner(models.Gated, name=name)) == "unloaded"


async def test_the_model_that_idles_longest_makes_room() -> None:
    async with stage(2) as one:
        for name in ("a", "b", "a", "c"):
            await one.executor.run(one.call(models.Doubler, {"number": 1}, name=name))

        states = [one.executor.state(one.runner(models.Doubler, name=name)) for name in ("a", "b", "c")]
        assert states == ["warm", "unloaded", "warm"]


async def test_functions_share_a_process_until_the_last_of_them_is_released() -> None:
    async with stage() as one:
        for code in (models.double, models.doubled, models.double):
            assert await one.result(code, number=1) == 2
        (pid,) = one.executor.pids
        await one.executor.release(one.runner(models.double))
        states = [one.executor.state(one.runner(code)) for code in (models.double, models.doubled)]
        pids_meanwhile = one.executor.pids
        await one.executor.release(one.runner(models.doubled))

        assert (states, pids_meanwhile, one.executor.pids) == (["unloaded", "warm"], [pid], [])


async def test_a_function_that_cannot_be_imported_leaves_the_others_their_process() -> None:
    def only_here() -> None: ...

    only_here.__module__, only_here.__qualname__ = "module_of_the_parent", "only_here"
    async with stage() as one:
        await one.result(models.double, number=1)
        before = one.executor.pids
        broken = await one.outcome(only_here)

        assert broken.kind == "not_run"
        assert await one.result(models.double, number=2) == 4
        assert one.executor.pids == before


async def test_a_function_with_a_memory_limit_has_a_process_of_its_own() -> None:
    async with stage(2) as one:
        await one.result(models.double, number=1)
        (outcome,) = await one.executor.run(one.call(models.pid, {}, memory_limit=2**30))

        assert result_of(outcome) != one.executor.pids[0]
        assert len(one.executor.pids) == 2


async def test_models_are_prepared_one_after_the_other_where_there_is_no_room() -> None:
    async with stage() as one:
        name = f"gated-{one.gate.address}"
        one.gate.open("teardown")
        preparing = [asyncio.create_task(one.prepare(models.Gated, name=name))]
        await one.gate.entered("setup")
        preparing.append(asyncio.create_task(one.prepare(models.double)))
        await asyncio.sleep(0)
        one.gate.open("setup")
        await asyncio.gather(*preparing)

        assert one.executor.state(one.runner(models.double)) == "warm"
        assert one.gate.visits["teardown"] == 1


async def test_a_setup_that_nobody_waits_for_any_more_makes_room() -> None:
    async with stage() as one:
        call = one.call(models.Gated, {}, name=f"gated-{one.gate.address}")
        running = one.begin(call)
        await one.gate.entered("setup")
        one.executor.cancel(call)
        await running

        assert await one.result(models.double, number=4) == 8


async def test_calls_get_their_slots_in_the_order_in_which_they_came() -> None:
    async with stage() as one:
        await one.prepare(models.pass_gate)
        one.gate.open("go")
        inputs = {"gate": one.gate.address, "name": "go"}
        ended: list[int] = []

        async def run(number: int) -> None:
            await one.executor.run(one.call(models.pass_gate, inputs))
            ended.append(number)
            if number < 5:
                newcomers.append(asyncio.create_task(run(number + 100)))

        newcomers: list[asyncio.Task[None]] = []
        await asyncio.gather(*(run(number) for number in range(20)))
        await asyncio.gather(*newcomers)

    assert ended == [*range(20), *range(100, 105)]


async def test_each_process_sees_the_device_that_the_fewest_have() -> None:
    async with stage(3, devices=[4, 6]) as one:
        outcomes = await asyncio.gather(*(one.result(models.Loaded) for _ in range(3)))

        assert sorted(visible for *_, visible in outcomes) in (["4", "4", "6"], ["4", "6"])
        assert {device for _, _, device, _ in outcomes} == {"cuda:0"}
        assert one.executor.devices == (4, 6)


async def test_the_environment_is_set_before_python_starts() -> None:
    async with stage(env={"MODEL_HOME": "/weights", "PYTHONHASHSEED": "7"}, devices=[3]) as one:
        names = ("MODEL_HOME", "PYTHONHASHSEED", "CUDA_VISIBLE_DEVICES", "PATH")
        assert [await one.result(models.variable, name=name) is not None for name in names] == [True] * 4
        assert await one.result(models.variable, name="CUDA_VISIBLE_DEVICES") == "3"


@pytest.mark.parametrize(
    "habits",
    [
        {"slots": 0},
        {"spares": -1},
        {"max_jobs": 0},
        {"max_rss": True},
        {"kill_after": float("nan")},
        {"max_age": -1.0},
    ],
)
def test_an_option_that_is_out_of_bounds_is_refused(habits: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(habits))):
        ProcessExecutor(**habits)
