"""Closing, coming back, and several managers on one store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from asyncinfer import AsyncinferError, JobKey, JobManager, UnknownJob, current_job, model
from asyncinfer._plugins import store_from_url
from asyncinfer.abc import ClaimRequest, Claims
from asyncinfer.errors import Draining, InvalidModel, InvalidOption, SetupFailed, UnknownPlugin
from tests.manager.models import double, echo, waits_for_ever
from tests.manager.steps import running

OpenManager = Callable[..., JobManager]


async def test_running_jobs_finish_before_the_manager_closes(store_url: str, tmp_path: Path) -> None:
    began = asyncio.Event()
    finished: list[str] = []

    @model
    async def slow(text: str) -> str:
        began.set()
        await asyncio.sleep(0.05)  # the work that a drain must wait for
        finished.append(text)
        return text

    async with JobManager(store_url, models=[slow]) as manager:
        await manager.submit(slow, "done")
        await began.wait()
    assert finished == ["done"]


async def test_a_draining_manager_accepts_nothing(manager: JobManager) -> None:
    await manager.drain(0)
    with pytest.raises(Draining):
        await manager.submit(echo, "too late")
    health = await manager.health()
    assert (health.is_ready, health.reasons) == (False, ["draining"])


async def test_what_outlasts_the_grace_is_given_back_uncharged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    async with JobManager(url, models=[waits_for_ever], drain_grace=0) as manager:
        handle = await manager.submit(waits_for_ever)
        await running(handle)
    async with JobManager(url, run_jobs=False) as manager:
        job = await manager.get(handle.id)
        assert (job.status, job.attempt, job.failures, job.crashes) == ("queued", 1, 0, 0)


async def test_a_restarted_manager_runs_what_waited(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    async with JobManager(url, models=[double], run_jobs=False) as manager:
        await manager.pause("default")
        ids = [handle.id for handle in await manager.submit_many([double.bind(number) for number in range(20)])]
    async with JobManager(url, models=[double]) as manager:
        await manager.resume("default")
        assert [await manager.handle(job_id, double) for job_id in ids] == [2 * number for number in range(20)]


async def test_a_submit_only_manager_leaves_the_work_to_another(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    async with JobManager(url, models=[double]), JobManager(url, run_jobs=False) as submitter:
        by_name = await submitter.submit(submitter.model("double"), number=4)
        assert await by_name.result(timeout=20) == 8
        assert [published.name for published in submitter.models()] == ["double"]


async def test_two_managers_share_one_file_and_no_job_runs_twice(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    runs: list[int] = []

    @model
    async def noted(number: int) -> int:
        runs.append(number)
        return number

    async with JobManager(url, models=[noted]) as one, JobManager(url, models=[noted]) as other:
        handles = [
            *await one.submit_many([noted.bind(number) for number in range(100)]),
            *await other.submit_many([noted.bind(number) for number in range(100, 200)]),
        ]
        assert await asyncio.gather(*(handle.result(timeout=30) for handle in handles)) == list(range(200))
    assert sorted(runs) == list(range(200))


async def test_a_cancel_from_another_manager_reaches_the_running_job(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/jobs.db"
    async with JobManager(url, models=[waits_for_ever]) as worker, JobManager(url, run_jobs=False) as submitter:
        handle = await worker.submit(waits_for_ever)
        await running(handle)
        assert await submitter.cancel(handle.id) == "requested"
        with pytest.raises(AsyncinferError, match="canceled"):
            await handle.result(timeout=10)


async def test_a_manager_is_used_inside_its_context(store_url: str) -> None:
    manager = JobManager(store_url, models=[echo])
    with pytest.raises(AsyncinferError, match="async with"):
        await manager.submit(echo, "hi")


async def test_a_model_whose_setup_raises_stops_the_opening(store_url: str) -> None:
    class Broken:
        def setup(self, ctx: object) -> None:
            raise RuntimeError("no weights")

        def predict(self, text: str) -> str:
            return text

    with pytest.raises(SetupFailed, match="no weights"):
        async with JobManager(store_url, models=[model(Broken, name="broken")]):
            pass


async def test_an_unknown_scheme_names_what_is_installed() -> None:
    with pytest.raises(UnknownPlugin, match="memory"):
        async with JobManager("mongodb://localhost"):
            pass


@pytest.mark.parametrize(
    ("option", "value"),
    [("lease", 0), ("lease", float("nan")), ("concurrency", 0), ("concurrency", True), ("drain_grace", -1)],
)
def test_a_wrong_option_is_named(option: str, value: object) -> None:
    wrong: dict[str, object] = {option: value}
    with pytest.raises(InvalidOption, match=option):
        JobManager("memory://", **wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  what is tried


async def test_async_code_is_refused_by_the_thread_executor(store_url: str) -> None:
    @model(executor="thread")
    async def misplaced(text: str) -> str:
        return text

    with pytest.raises(InvalidModel, match="executor='loop'"):
        async with JobManager(store_url, models=[misplaced]):
            pass


async def test_two_models_of_one_name_are_refused() -> None:
    @model(name="echo")
    async def other(text: str) -> str:
        return text

    with pytest.raises(InvalidModel, match="echo"):
        JobManager("memory://", models=[echo, other])


async def test_a_thread_that_never_ends_does_not_hold_its_job(store_url: str) -> None:
    import threading

    release = threading.Event()

    @model(time_limit=0.05)
    def stuck() -> None:
        release.wait()

    try:
        async with JobManager(store_url, models=[stuck], drain_grace=0) as manager:
            handle = await manager.submit(stuck)
            with pytest.raises(AsyncinferError, match="time_limit"):
                await handle
            health = await manager.health()
            assert health.abandoned == {"thread": 1}
    finally:
        release.set()


async def test_the_job_context_tells_who_and_what(open_manager: OpenManager) -> None:
    @model
    async def introspects() -> list[str | int]:
        ctx = current_job()
        return [ctx.job_id, ctx.owner, ctx.model, ctx.attempt]

    async with open_manager(introspects) as manager:
        handle = await manager.scoped("ann").submit(introspects)
        assert await handle == [handle.id, "ann", "introspects", 1]


async def test_a_scoped_manager_needs_a_short_name(manager: JobManager) -> None:
    with pytest.raises(InvalidOption, match="owner"):
        manager.scoped("x" * 256)
    with pytest.raises(UnknownJob):
        await manager.scoped("x").get("job_nope")


async def test_a_claim_that_is_under_way_when_the_manager_closes_charges_nothing(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answering = asyncio.Event(), asyncio.Event()

    async with store_from_url(store_url) as store:
        claim = store.claim

        async def late(requests: Sequence[ClaimRequest]) -> Sequence[Claims]:
            answers = await claim(requests)
            if any(answer.claims for answer in answers):
                asked.set()
                await answering.wait()
            return answers

        monkeypatch.setattr(store, "claim", late)
        async with JobManager(store, models=[echo], drain_grace=0) as manager:
            job = await manager.submit(echo, "hi")
            await asked.wait()
            asyncio.get_running_loop().call_later(0.05, answering.set)  # while the manager closes
        (left,) = await store.get([JobKey("", job.id)])

    assert left is not None
    assert left.status in ("queued", "succeeded")
    assert (left.crashes, left.failures) == (0, 0)
