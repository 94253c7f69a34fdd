"""What a job in a worker process tells and is told: in order, within bounds, and never to another job."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from asyncinfer_process._memory import resident_bytes
from tests.backends import process_models as models
from tests.backends.process_stage import LIMITS, Notes, error_of, result_of, stage


async def test_everything_is_told_in_order_and_before_the_outcome() -> None:
    async with stage() as one:
        await one.result(models.narrate, count=2_500)
        told = one.notes.told

    assert told.outputs == list(range(2_500))
    fractions = [report.fraction for report in told.reports if report.fraction is not None]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 2_499 / 2_500
    assert told.checkpoints[-1] == 2_499
    assert len(told.reports) + len(told.checkpoints) < 100  # only the latest of a moment


async def test_a_job_finds_its_metadata_its_checkpoint_and_its_bounds() -> None:
    async with stage() as one:
        (outcome,) = await one.executor.run(one.call(models.read_context, {}, checkpoint=17, metadata={"for": "ada"}))

    assert result_of(outcome) == [{"for": "ada"}, 17, "ada", 7, 1_000, 2_000]


@pytest.mark.parametrize(("code", "limit"), [(models.emit_bytes, "result"), (models.checkpoint_bytes, "checkpoint")])
async def test_what_is_too_large_is_refused_inside_the_model(code: object, limit: str) -> None:
    size = LIMITS.result_bytes if limit == "result" else LIMITS.checkpoint_bytes
    async with stage() as one:
        outcome = await one.outcome(code, size=size)
        pids = one.executor.pids
        await one.outcome(code, size=1)

        assert error_of(outcome).type == "asyncinfer.errors.TooLarge"
        assert f"Limits.{limit}_bytes" in error_of(outcome).message
        assert one.executor.pids == pids


async def test_a_report_that_cannot_be_sent_is_an_error_of_the_model() -> None:
    async with stage() as one:
        outcome = await one.outcome(models.report_nonsense)
        pids = one.executor.pids
        await one.outcome(models.report_nonsense)

        assert (outcome.kind, error_of(outcome).type) == ("raised", "TypeError")
        assert one.executor.pids == pids


class Slow(Notes):
    """Takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.opened = threading.Event()

    def emit(self, data: bytes) -> None:
        self.begun.set()
        assert self.opened.wait(30)
        super().emit(data)


async def test_emit_waits_while_nobody_takes_what_was_emitted() -> None:
    """100 MB are to be emitted; beside what waits in the worker process, a frame or two are under way."""
    async with stage() as one:
        slow = Slow()
        running = one.begin(one.call(models.flood, {"count": 10_000, "bytes_each": 10_000}, reporter=slow))
        assert await asyncio.to_thread(slow.begun.wait, 30)
        (pid,) = one.executor.pids
        before = resident_bytes(pid)
        await asyncio.sleep(0.2)  # what it can emit meanwhile, it has emitted
        after = resident_bytes(pid)
        is_held_up = not running.done()
        slow.opened.set()
        (outcome,) = await running

    assert is_held_up
    assert (outcome.kind, len(slow.told.outputs)) == ("returned", 10_000)
    assert before is not None
    assert after is not None
    assert after - before < 16 * models.MIB


async def test_a_job_that_is_ended_while_it_waits_to_emit_frees_its_slot() -> None:
    async with stage() as one:
        slow = Slow()
        call = one.call(models.flood, {"count": 10_000, "bytes_each": 10_000}, reporter=slow)
        running = one.begin(call)
        assert await asyncio.to_thread(slow.begun.wait, 30)
        one.executor.cancel(call, hard=True)
        slow.opened.set()

        assert (await running)[0].kind == "canceled"
        assert await one.result(models.double, number=4) == 8


async def test_what_a_stray_thread_says_after_its_job_reaches_no_other_job() -> None:
    async with stage() as one:
        await one.result(models.talk_on)
        others = Notes()
        for _ in range(200):
            await one.executor.run(one.call(models.talk_on, {}, reporter=others))
        pids = one.executor.pids
        assert await one.result(models.talk_on) == 1

        assert (others.told.outputs, others.told.reports) == ([], [])
        assert one.executor.pids == pids


async def test_log_records_appear_here_under_their_logger_and_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "mine.loud")
    async with stage() as one:
        for logger, level in (("mine", logging.WARNING), ("mine", logging.DEBUG), ("mine.loud", logging.DEBUG)):
            await one.result(models.log, logger=logger, level=level, text=f"{level} 100%")

    assert [record for record in caplog.record_tuples if record[0].startswith("mine")] == [
        ("mine", logging.WARNING, "30 100%"),
        ("mine.loud", logging.DEBUG, "10 100%"),
    ]


async def test_what_cannot_be_logged_harms_no_job(caplog: pytest.LogCaptureFixture) -> None:
    async with stage() as one:
        await one.result(models.log_badly)

    (text,) = [record.getMessage() for record in caplog.records if record.name == "bad"]
    assert text.startswith("it failed \\udcff\nTraceback")


async def test_a_flood_of_log_records_does_not_hold_up_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "flood")
    async with stage() as one:
        running = one.begin(one.call(models.log_much, {"count": 20_000}))
        lags: list[float] = []
        loop = asyncio.get_running_loop()
        while not running.done():
            began = loop.time()
            await asyncio.sleep(0.001)
            lags.append(loop.time() - began)

    assert sorted(lags)[len(lags) // 2] < 0.05
