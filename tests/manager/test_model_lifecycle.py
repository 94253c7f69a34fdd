"""Models are loaded, wait for their setup to succeed, and are torn down."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from asyncinfer import JobHandle, JobKey, JobManager, Model, ProgressEvent, SetupContext, StatusEvent, model
from asyncinfer._services import releases
from asyncinfer._services.setbacks import Setbacks
from asyncinfer.errors import SetupFailed
from asyncinfer.testing import FakeClock
from asyncinfer_memory import MemoryStore
from tests.manager.models import echo

OpenManager = Callable[..., JobManager]


class Watched:
    """What a test's model does and tells; the tests set it anew."""

    failures = 0
    setups = 0
    teardowns = 0
    gate = threading.Event()
    teardown_gate = threading.Event()


@pytest.fixture(autouse=True)
def watched() -> Iterator[type[Watched]]:
    Watched.failures = Watched.setups = Watched.teardowns = 0
    Watched.gate.set()
    Watched.teardown_gate.set()
    yield Watched
    Watched.gate.set()
    Watched.teardown_gate.set()


class Weights:
    def setup(self, ctx: SetupContext) -> None:
        Watched.setups += 1
        assert Watched.gate.wait(20)
        if Watched.failures > 0:
            Watched.failures -= 1
            raise OSError("no weights")

    def teardown(self) -> None:
        Watched.teardowns += 1
        assert Watched.teardown_gate.wait(20)

    def predict(self, number: int) -> int:
        return 2 * number


weights = model(Weights, name="weights")
late = model(Weights, name="late", preload=False)
late_and_short = model(Weights, name="late_and_short", preload=False, time_limit=0.2)


def state_of(manager: JobManager, one: Model[..., Any, Any]) -> str | None:
    (found,) = [published for published in manager.models() if published.name == one.name]
    return found.state


async def told(handle: JobHandle[object], message: str) -> None:
    """Return once the job's progress has this message."""
    async for event in handle.events():
        if isinstance(event, ProgressEvent) and event.progress.message == message:
            return


async def queued_again(handle: JobHandle[object]) -> None:
    """Return once the job has been given back."""
    statuses: list[str] = []
    async for event in handle.events():
        if isinstance(event, StatusEvent):
            statuses.append(event.status)
            if statuses[-2:] == ["running", "queued"]:
                return


async def test_a_model_is_loaded_while_the_manager_is_open(open_manager: OpenManager) -> None:
    async with open_manager(weights, echo) as manager:
        assert (state_of(manager, weights), state_of(manager, echo)) == ("warm", "warm")
        assert (Watched.setups, Watched.teardowns) == (1, 0)
    assert (Watched.setups, Watched.teardowns) == (1, 1)


async def test_a_model_that_is_not_preloaded_is_loaded_by_its_first_job_which_shows_it(
    open_manager: OpenManager,
) -> None:
    Watched.gate.clear()
    async with open_manager(late) as manager:
        before = state_of(manager, late)
        handles = await manager.submit_many([late.bind(number) for number in range(8)])
        await told(handles[0], "loading model")
        counts = (await manager.counts())[0]
        meanwhile = state_of(manager, late)
        Watched.gate.set()

        assert await asyncio.gather(*handles) == [2 * number for number in range(8)]
        assert (before, meanwhile, state_of(manager, late)) == ("unloaded", "loading", "warm")
        assert (counts.running, counts.queued) == (1, 7)  # one loads it, the others are anybody's
        assert Watched.setups == 1


async def test_a_model_that_no_job_needed_is_neither_loaded_nor_torn_down(open_manager: OpenManager) -> None:
    async with open_manager(late, echo) as manager:
        await (await manager.submit(echo, "hi"))
    assert (Watched.setups, Watched.teardowns) == (0, 0)


async def test_a_manager_that_does_not_run_a_model_does_not_tell_its_state(open_manager: OpenManager) -> None:
    async with open_manager(weights, run_jobs=False) as manager:
        assert state_of(manager, weights) is None


async def test_the_time_limit_of_a_job_does_not_pay_for_loading_its_model(open_manager: OpenManager) -> None:
    Watched.gate.clear()
    async with open_manager(late_and_short) as manager:
        handle = await manager.submit(late_and_short, 21)
        await told(handle, "loading model")
        await queued_again(handle)
        Watched.gate.set()

        assert await handle == 42
        assert Watched.setups == 1


async def test_jobs_of_a_model_that_cannot_be_set_up_wait_and_are_not_charged() -> None:
    clock = FakeClock()
    Watched.failures = 2
    async with MemoryStore(clock=clock) as store, JobManager(store, models=[late, echo]) as manager:
        handles = await manager.submit_many([late.bind(number) for number in range(3)])
        await until(lambda: setbacks_of(manager).count == 1)
        assert await (await manager.submit(echo, "others go on")) == "others go on"
        await clock.advance(0.9)
        await asyncio.sleep(0.05)
        assert Watched.setups == 1
        await clock.advance(0.2)
        await until(lambda: setbacks_of(manager).count == 2)
        await clock.advance(1.7)
        await asyncio.sleep(0.05)
        assert Watched.setups == 2
        await clock.advance(0.5)

        assert await asyncio.gather(*handles) == [0, 2, 4]
        assert Watched.setups == 3
        records = await manager.records([JobKey("", handle.id) for handle in handles])
        assert [(record.failures, record.crashes) for record in records if record is not None] == [(0, 0)] * 3


async def test_health_names_a_model_whose_setup_keeps_failing_until_it_succeeds() -> None:
    clock = FakeClock()
    Watched.failures = 3
    async with MemoryStore(clock=clock) as store, JobManager(store, models=[late]) as manager:
        handle = await manager.submit(late, 21)
        for count, pause in ((1, 1.1), (2, 2.1)):
            await until(lambda count=count: setbacks_of(manager).count == count)  # type: ignore[misc]
            assert (await manager.health()).is_ready
            await clock.advance(pause)
        await until(lambda: setbacks_of(manager).count == 3)
        health = await manager.health()
        await clock.advance(4.1)

        assert (health.is_live, health.is_ready) == (True, False)
        assert health.reasons == ["model late cannot be set up: model late: setup raised OSError: no weights"]
        assert await handle == 42
        assert (await manager.health()).reasons == []


async def test_a_teardown_that_hangs_is_logged_and_holds_nothing_up(
    open_manager: OpenManager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(releases, "RELEASE_SECONDS", 0.1)
    Watched.teardown_gate.clear()
    async with asyncio.timeout(10), open_manager(weights):
        pass
    Watched.teardown_gate.set()

    assert "the teardown of model weights takes longer than 0.1 s" in caplog.text


async def test_a_teardown_that_raises_is_logged_and_the_others_run(
    open_manager: OpenManager, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Weights):
        def teardown(self) -> None:
            raise OSError("no device")

    async with open_manager(model(Broken, name="broken"), weights):
        pass

    assert "no device" in caplog.text
    assert Watched.teardowns == 1


async def test_a_model_whose_code_still_runs_is_not_torn_down(open_manager: OpenManager) -> None:
    class Stuck(Weights):
        def predict(self, number: int) -> int:
            entered.set()
            assert left.wait(20)
            return number

    entered, left = threading.Event(), threading.Event()
    stuck = model(Stuck, name="stuck")
    async with open_manager(stuck, weights, drain_grace=0) as manager:
        await manager.submit(stuck, 1)
        await until(entered.is_set)
    left.set()

    assert Watched.teardowns == 1


async def test_a_loaded_model_is_torn_down_when_the_opening_fails_later(open_manager: OpenManager) -> None:
    class Broken(Weights):
        def setup(self, ctx: SetupContext) -> None:
            raise OSError("no weights")

    with pytest.raises(SetupFailed):
        await open_manager(weights, model(Broken, name="broken")).__aenter__()

    assert Watched.teardowns == 1


def setbacks_of(manager: JobManager) -> Setbacks:
    return manager._core.engine.pools[0].models["late"].setbacks


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds: a setup runs in a thread, whatever the test's clock says."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
