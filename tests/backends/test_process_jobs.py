"""Jobs of a manager in worker processes: on each embedded store, from submit to result, death and drain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asyncinfer import JobCanceled, JobFailed, JobManager, Model, model
from asyncinfer.abc import OutputEvent
from asyncinfer.testing.gate import Gate
from asyncinfer_process import ProcessExecutor
from tests.backends import process_models as models

Open = Callable[..., JobManager]

double = model(models.double, executor="process")
count_up = model(models.count_up, executor="process")
obey = model(models.obey, executor="process")
hold = model(models.pass_gate, name="hold", executor="process")
die = model(models.die, executor="process", crash_budget=2)
resume = model(models.resume, executor="process")
slow_to_load = model(models.SlowToLoad, name="slow_to_load", executor="process", preload=False)
Broken = model(models.Unpickled, executor="process", preload=False)


@pytest.fixture(params=["memory", "sqlite"])
def open_manager(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db"

    def make(*models: Model[..., Any, Any], **options: Any) -> JobManager:  # Any: whatever JobManager takes
        return JobManager(url, models=models, **options)

    return make


async def test_a_result_and_a_stream(open_manager: Open) -> None:
    async with open_manager(double, count_up, executors={"process": ProcessExecutor(2)}) as manager:
        doubled = await manager.submit(double, 21)
        counted = await manager.submit(count_up, 5)
        values = [value async for value in counted.stream()]

        assert await doubled.result() == 42
        assert values == [0, 1, 2, 3, 4]
        assert await counted.result() == values


async def test_a_cancel_and_a_time_limit(open_manager: Open) -> None:
    async with Gate() as gate, open_manager(obey, hold, executors={"process": ProcessExecutor(2)}) as manager:
        obeying = await manager.submit(obey, gate.address, "a")
        await gate.entered("a")
        gate.open("a")
        await obeying.cancel()
        with pytest.raises(JobCanceled):
            await obeying.result()

        held = await manager.submit(hold.options(time_limit=0.3), gate.address, "b")
        with pytest.raises(JobFailed) as caught:
            await held.result()
        await gate.left("b")
        assert caught.value.error.code == "time_limit"


async def test_a_job_that_kills_its_worker_is_run_again_until_its_crash_budget_is_spent(open_manager: Open) -> None:
    async with open_manager(die) as manager:
        handle = await manager.submit(die, "SIGSEGV")
        with pytest.raises(JobFailed) as caught:
            await handle.result()
        attempts = await manager.attempts(handle.id)

    assert caught.value.error.code == "crash_budget"
    assert "the worker process died of SIGSEGV" in caught.value.error.message
    assert [attempt.outcome for attempt in attempts] == ["rescued", "rescued"]


async def test_a_checkpoint_outlives_a_crash(open_manager: Open) -> None:
    async with Gate() as gate, open_manager(resume) as manager:
        handle = await manager.submit(resume.options(metadata={"gate": gate.address}))
        async for event in handle.events():
            if isinstance(event, OutputEvent):  # it is stored, and so is what was saved before it
                break
        gate.open("saved")

        assert await handle.result() == 17


async def test_a_model_that_cannot_be_set_up_charges_no_job(open_manager: Open) -> None:
    async with open_manager(Broken) as manager:
        handle = await manager.submit(Broken.options(queue_timeout=0.5))
        with pytest.raises(JobFailed):
            await handle.result()
        job = await handle.job()

    assert (job.failures, job.crashes) == (0, 0)


async def test_the_time_limit_does_not_pay_for_loading_the_model_in_one_more_process(open_manager: Open) -> None:
    slots = {"process": ProcessExecutor(2)}
    async with Gate() as gate, open_manager(slow_to_load, executors=slots) as manager:
        first = await manager.submit(slow_to_load, gate.address, "a")
        await gate.entered("a")
        gate.open("b")
        second = await manager.submit(slow_to_load.options(time_limit=0.4), gate.address, "b")
        pid = await second.result()
        job = await second.job()
        gate.open("a")

        assert pid != await first.result()
        assert job.attempt > 1
        assert (job.failures, job.crashes) == (0, 0)


async def test_a_model_is_loaded_even_when_another_waits_and_no_job_may_wait_so_long(open_manager: Open) -> None:
    others = model(models.SlowToLoad, name="slow_to_load_too", executor="process", preload=False)
    async with Gate() as gate, open_manager(slow_to_load, others) as manager:
        gate.open("a")
        hasty = [one.options(time_limit=0.4) for one in (slow_to_load, others, slow_to_load, others)]
        handles = [await manager.submit(one, gate.address, "a") for one in hasty]
        async with asyncio.timeout(20):
            await asyncio.gather(*handles)


async def test_a_drain_gives_back_what_runs_and_ends_its_process(tmp_path: Path) -> None:
    executor = ProcessExecutor()
    url = f"sqlite:///{tmp_path}/jobs.db"
    async with Gate() as gate:
        async with JobManager(url, models=[hold], executors={"process": executor}, drain_grace=0) as manager:
            handle = await manager.submit(hold, gate.address, "a")
            await gate.entered("a")
        await gate.left("a")
    async with JobManager(url, run_jobs=False) as manager:
        job = await manager.get(handle.id)

    assert (job.status, job.failures, job.crashes) == ("queued", 0, 0)
    assert executor.pids == []
