"""ExecutorSuite: what every executor keeps, whatever it runs code on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from asyncinfer.abc import Executor
from asyncinfer.errors import SetupFailed
from asyncinfer.testing import executor_models
from asyncinfer.testing.executor_case import SECONDS, SLOTS, ExecutorCase, Stage, on_every_loop, result_of


class ExecutorSuite(ExecutorCase):
    """Subclass it as `TestMyExecutor`, override `make_executor`, and say with `kinds` and `detaches` what it does.

    Every test runs on asyncio's loop and on uvloop. What an executor's capabilities do not promise is skipped.
    """

    # Answers

    @on_every_loop
    async def test_a_call_answers_with_its_result(self, stage: Stage) -> None:
        assert await stage.result(stage.models.double, number=21) == 42

    @on_every_loop
    async def test_a_batch_answers_once_for_each_item_in_their_order(self, stage: Stage) -> None:
        items = [{"number": number} for number in (3, -1, 2)]

        first, second, third = await stage.executor.run(stage.call(stage.models.squares, *items))

        assert (result_of(first), result_of(third)) == (9, 4)
        assert second.kind == "raised"

    @on_every_loop
    async def test_many_calls_at_once_each_get_their_own_answer(self, stage: Stage) -> None:
        calls = [stage.result(stage.models.double, number=number) for number in range(200)]

        assert await asyncio.gather(*calls) == [2 * number for number in range(200)]
        assert stage.executor.free == SLOTS

    @on_every_loop
    async def test_an_exception_of_the_model_is_an_outcome(self, stage: Stage) -> None:
        outcome = await stage.outcome(stage.models.fail, kind="ValueError")

        assert outcome.kind == "raised"
        assert outcome.error is not None
        assert outcome.error.code == "model_error"
        assert outcome.error.message == "the model did not like it"

    @on_every_loop
    async def test_a_model_may_ask_to_be_run_later(self, stage: Stage) -> None:
        outcome = await stage.outcome(stage.models.fail, kind="RetryLater")

        assert (outcome.kind, outcome.delay) == ("retry_later", 7.5)

    @on_every_loop
    async def test_a_model_that_exits_takes_no_slot_with_it(self, stage: Stage) -> None:
        kinds = ["SystemExit", "KeyboardInterrupt", "GeneratorExit"] * SLOTS
        exits = [await stage.outcome(stage.models.fail, kind=kind) for kind in kinds]

        assert {outcome.kind for outcome in exits} <= {"raised", "worker_lost"}
        await stage.until_free(SLOTS)
        assert await stage.result(stage.models.double, number=4) == 8

    @on_every_loop
    async def test_no_call_sees_the_context_variables_of_another(self, stage: Stage) -> None:
        model = stage.models.count_calls_in_context
        seen = [await asyncio.create_task(stage.result(model)) for _ in range(2 * SLOTS)]

        assert seen == [0] * (2 * SLOTS)

    @on_every_loop
    async def test_code_in_this_process_sees_the_context_variables_of_its_caller(self, stage: Stage) -> None:
        if stage.executor.capabilities.isolated or stage.executor.capabilities.remote:
            pytest.skip("Capabilities.isolated or .remote: the code runs elsewhere")
        executor_models.calls_before.set(7)

        assert await stage.result(stage.models.count_calls_in_context) == 7

    @on_every_loop
    async def test_what_the_code_tells_arrives_in_order_and_before_its_outcome(self, stage: Stage) -> None:
        await stage.result(stage.models.narrate, steps=100)

        assert stage.notes.outputs == list(range(100))
        assert stage.notes.fractions == sorted(stage.notes.fractions, key=lambda fraction: fraction or 0)
        assert stage.notes.fractions[-1] == 0.99

    # Slots

    @on_every_loop
    async def test_a_slot_is_taken_while_the_code_runs(self, stage: Stage) -> None:
        free_before = stage.executor.free
        running = await stage.begin(stage.call(stage.models.hold, stage.at_gate("a")), "a")
        free_meanwhile = stage.executor.free
        stage.gate.open("a")
        await running

        assert (free_before, free_meanwhile, stage.executor.free) == (SLOTS, SLOTS - 1, SLOTS)

    @on_every_loop
    async def test_every_slot_runs_at_the_same_time(self, stage: Stage) -> None:
        names = [f"code-{number}" for number in range(SLOTS)]
        running = [await stage.begin(stage.call(stage.models.hold, stage.at_gate(name)), name) for name in names]
        free_meanwhile = stage.executor.free
        for name in names:
            stage.gate.open(name)

        assert [result_of((await one)[0]) for one in running] == names
        assert free_meanwhile == 0

    @on_every_loop
    async def test_a_freed_slot_is_told_on_the_loop(self, stage: Stage) -> None:
        await stage.result(stage.models.double, number=1)
        await stage.until_free(SLOTS)

        assert set(stage.freed_in) == {threading.get_ident()}

    @on_every_loop
    async def test_an_abandoned_call_keeps_its_slot_until_its_code_returns(self, stage: Stage) -> None:
        running = await stage.begin(stage.call(stage.models.hold, stage.at_gate("a")), "a")
        running.cancel()
        if self.detaches:
            await asyncio.wait([running])
        was_taken = stage.gate.is_inside("a") and stage.executor.free == SLOTS - 1
        told_before = len(stage.freed_in)
        stage.gate.open("a")
        await stage.until_free(SLOTS)
        await asyncio.wait([running])

        assert was_taken
        assert len(stage.freed_in) > told_before
        assert stage.executor.abandoned == 0

    @on_every_loop
    async def test_an_abandoned_call_is_counted_while_its_code_runs(self, stage: Stage) -> None:
        if not self.detaches:
            pytest.skip("detaches is False: its code and the await end together")
        running = await stage.begin(stage.call(stage.models.hold, stage.at_gate("a")), "a")
        running.cancel()
        await asyncio.wait([running])

        assert stage.executor.abandoned == 1

    # Cancel

    @on_every_loop
    async def test_a_canceled_call_that_obeys_ends_canceled(self, stage: Stage) -> None:
        call = stage.call(stage.models.obey, stage.at_gate("a"))
        running = await stage.begin(call, "a")
        stage.gate.open("a")
        stage.executor.cancel(call)
        (outcome,) = await running
        await stage.until_free(SLOTS)

        assert outcome.kind == "canceled"
        assert call.items[0].context.is_canceled

    @on_every_loop
    async def test_a_canceled_call_that_does_not_obey_returns(self, stage: Stage) -> None:
        call = stage.call(stage.models.hold, stage.at_gate("a"))
        running = await stage.begin(call, "a")
        stage.executor.cancel(call)
        stage.gate.open("a")
        (outcome,) = await running

        assert result_of(outcome) == "a"
        assert call.items[0].context.is_canceled

    @on_every_loop
    async def test_canceling_a_call_leaves_its_neighbour_alone(self, stage: Stage) -> None:
        call = stage.call(stage.models.obey, stage.at_gate("a"))
        running = await stage.begin(call, "a")
        neighbour = await stage.begin(stage.call(stage.models.hold, stage.at_gate("b")), "b")
        stage.gate.open("a")
        stage.executor.cancel(call)
        await running
        stage.gate.open("b")

        assert result_of((await neighbour)[0]) == "b"

    @on_every_loop
    async def test_canceling_one_item_of_a_batch_leaves_the_others_to_go_on(self, stage: Stage) -> None:
        call = stage.call(stage.models.obedient, *({"number": number} for number in range(3)))
        running = asyncio.create_task(stage.executor.run(call))
        await stage.until_told("together")
        stage.executor.cancel(call, call.items[1])
        outcomes = await running

        assert [outcome.kind for outcome in outcomes] == ["returned", "canceled", "returned"]
        assert [result_of(outcomes[0]), result_of(outcomes[2])] == [0, 2]
        assert [item.context.is_canceled for item in call.items] == [False, True, False]

    @on_every_loop
    async def test_canceling_a_call_does_not_cancel_the_task_that_awaits_it(self, stage: Stage) -> None:
        call = stage.call(stage.models.obey, stage.at_gate("a"))

        async def run_and_go_on() -> int:
            await stage.executor.run(call)
            await asyncio.sleep(0)
            task = asyncio.current_task()
            assert task is not None
            return task.cancelling()

        running = asyncio.create_task(run_and_go_on())
        await stage.gate.entered("a")
        stage.gate.open("a")
        stage.executor.cancel(call)

        assert await running == 0

    @on_every_loop
    async def test_canceling_an_unknown_or_ended_call_does_nothing(self, stage: Stage) -> None:
        unknown = stage.call(stage.models.double, {"number": 1})
        stage.executor.cancel(unknown)
        ended = stage.call(stage.models.double, {"number": 1})
        await stage.executor.run(ended)
        stage.executor.cancel(ended)

        assert await stage.result(stage.models.double, number=5) == 10

    @on_every_loop
    async def test_a_hard_cancel_ends_code_that_does_not_obey(self, stage: Stage) -> None:
        if not stage.executor.capabilities.hard_cancel:
            pytest.skip("Capabilities.hard_cancel is False")
        call = stage.call(stage.models.hold, stage.at_gate("a"))
        running = await stage.begin(call, "a")
        stage.executor.cancel(call, hard=True)
        (outcome,) = await running
        await stage.gate.left("a")

        assert outcome.kind == "canceled"

    @on_every_loop
    async def test_a_hard_time_limit_ends_code_that_does_not_obey(self, stage: Stage) -> None:
        if not stage.executor.capabilities.hard_time_limit:
            pytest.skip("Capabilities.hard_time_limit is False")
        call = stage.call(stage.models.hold, stage.at_gate("a"), time_limit=0.2)
        (outcome,) = await stage.executor.run(call)
        await stage.gate.left("a")

        assert outcome.kind == "time_limit"

    # Setup

    @on_every_loop
    async def test_a_model_is_set_up_once_however_often_it_is_prepared(self, stage: Stage) -> None:
        await asyncio.gather(*(stage.prepare(stage.models.prepared) for _ in range(3)))
        await stage.prepare(stage.models.prepared)

        assert await stage.result(stage.models.prepared) == 1

    @on_every_loop
    async def test_a_setup_that_raises_is_told_with_its_reason(self, stage: Stage) -> None:
        stage.gate.open("setup")
        with pytest.raises(SetupFailed, match=r"weights\.bin"):
            await stage.prepare(stage.models.unprepared)
        await stage.until_free(SLOTS)

        assert await stage.result(stage.models.double, number=6) == 12

    @on_every_loop
    async def test_a_call_of_a_model_that_cannot_be_set_up_is_not_run_and_the_next_tries_again(
        self, stage: Stage
    ) -> None:
        stage.gate.open("setup")
        first = await stage.outcome(stage.models.unprepared)
        setups = stage.gate.visits["setup"]
        second = await stage.outcome(stage.models.unprepared)
        await stage.until_free(SLOTS)

        assert (first.kind, second.kind) == ("not_run", "not_run")
        assert first.error is not None
        assert "weights.bin" in first.error.message
        assert stage.gate.visits["setup"] > setups
        assert stage.executor.state(stage.runner(stage.models.unprepared)) != "warm"
        assert await stage.result(stage.models.double, number=6) == 12

    @on_every_loop
    async def test_a_batch_of_a_model_that_cannot_be_set_up_is_not_run(self, stage: Stage) -> None:
        stage.gate.open("setup")
        outcomes = await stage.executor.run(stage.call(stage.models.unprepared_batch, *[{"number": 1}] * 3))

        assert [outcome.kind for outcome in outcomes] == ["not_run"] * 3

    @on_every_loop
    async def test_a_first_call_sets_the_model_up_and_shows_it(self, stage: Stage) -> None:
        call = stage.call(stage.models.watched, {})
        running = await stage.begin(call, "setup")
        await stage.until_told("loading model")
        state_meanwhile = stage.executor.state(call.runner)
        stage.gate.open("setup")
        stage.gate.open("teardown")
        (outcome,) = await running

        assert result_of(outcome) == 0
        assert stage.notes.messages[-1] == ""
        assert (state_meanwhile, stage.executor.state(call.runner)) == ("loading", "warm")

    @on_every_loop
    async def test_a_released_model_is_torn_down_and_set_up_anew_by_the_next_call(self, stage: Stage) -> None:
        runner = stage.runner(stage.models.watched)
        stage.gate.open("setup")
        stage.gate.open("teardown")
        await stage.prepare(stage.models.watched)
        setups, state_before = stage.gate.visits["setup"], stage.executor.state(runner)
        await stage.executor.release(runner)
        state_meanwhile = stage.executor.state(runner)
        await stage.result(stage.models.watched)

        assert (state_before, state_meanwhile, stage.executor.state(runner)) == ("warm", "unloaded", "warm")
        assert 1 <= stage.gate.visits["teardown"] <= setups
        assert stage.gate.visits["setup"] > setups

    @on_every_loop
    async def test_releasing_a_model_that_is_not_loaded_does_nothing(self, stage: Stage) -> None:
        await stage.executor.release(stage.runner(stage.models.watched))

        assert stage.gate.visits["teardown"] == 0

    # Close

    @on_every_loop
    async def test_close_waits_for_code_that_ends_within_the_grace(self, stage: Stage) -> None:
        running = await stage.begin(stage.call(stage.models.hold, stage.at_gate("a")), "a")
        closing = asyncio.create_task(stage.executor.close(grace=2 * SECONDS))
        await asyncio.sleep(0)
        was_waiting = not closing.done()
        stage.gate.open("a")

        assert result_of((await running)[0]) == "a"
        await closing
        assert was_waiting

    @on_every_loop
    async def test_close_does_not_wait_longer_than_the_grace(self, stage: Stage) -> None:
        running = await stage.begin(stage.call(stage.models.hold, stage.at_gate("a")), "a")
        await stage.executor.close(grace=0)
        if self.detaches:
            await asyncio.wait([running])
        was_inside = stage.gate.is_inside("a")
        stage.gate.open("a")
        await asyncio.wait([running])

        assert was_inside or stage.executor.capabilities.isolated

    @on_every_loop
    async def test_a_closed_executor_leaves_no_thread(self, stage: Stage) -> None:
        before = set(threading.enumerate())
        executor = await self._used_executor(stage)
        meanwhile = set(threading.enumerate())
        await executor.close(grace=5)

        assert set(threading.enumerate()) <= before <= meanwhile

    @on_every_loop
    async def test_an_executor_may_be_closed_twice(self, stage: Stage) -> None:
        await stage.result(stage.models.double, number=1)
        await stage.executor.close(grace=5)
        await stage.executor.close(grace=5)

    async def _used_executor(self, stage: Stage) -> Executor:
        executor = self.make_executor(SLOTS)
        await executor.start(lambda: None)
        for _ in range(SLOTS):
            await executor.run(stage.call(stage.models.double, {"number": 1}))
        return executor
