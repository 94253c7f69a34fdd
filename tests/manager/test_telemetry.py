"""What whoever watches a manager is told: everything once, and none of it can do harm."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from contextvars import ContextVar
from typing import Any

import pytest

from asyncinfer import (
    Batch,
    IdempotencyConflict,
    JobCanceled,
    JobFailed,
    JobManager,
    Limits,
    QueueFull,
    QueueLimits,
    current_batch,
    model,
)
from asyncinfer._services.measured_store import MeasuredStore
from asyncinfer.abc import (
    Call,
    Claim,
    ClaimRequest,
    EndedAttempt,
    ModelRoom,
    NewJob,
    Outcome,
    Rescued,
    Submitted,
    Telemetry,
)
from asyncinfer.errors import Draining, InvalidOption, QuotaExceeded, StoreUnavailable
from asyncinfer.testing import FaultyStore
from asyncinfer_memory import MemoryStore
from asyncinfer_thread import LoopExecutor
from tests.manager.models import ALL, asks_for_later, double, echo, fails, fails_twice, waits_for_ever
from tests.manager.steps import running

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
watched: ContextVar[str] = ContextVar("watched", default="")


class Recorder(Telemetry):
    """Writes down whatever it is told."""

    def __init__(self) -> None:
        self.submitting_jobs: list[NewJob] = []
        self.submits: list[Submitted] = []
        self.claims: list[Claim] = []
        self.batches: list[int] = []
        self.endings: list[EndedAttempt] = []
        self.rescues: list[Rescued] = []
        self.calls: list[tuple[str, float, BaseException | None]] = []
        self._told = asyncio.Event()

    def submitting(self, jobs: Sequence[NewJob]) -> None:
        self.submitting_jobs += jobs
        self._told.set()

    def submitted(self, submits: Sequence[Submitted]) -> None:
        self.submits += submits

    def claimed(self, claims: Sequence[Claim]) -> None:
        self.claims += claims

    @contextlib.contextmanager
    def running(self, claims: Sequence[Claim]) -> Generator[None]:
        self.batches.append(len(claims))
        token = watched.set(f"attempt {claims[0].attempt}")
        try:
            yield
        finally:
            watched.reset(token)

    def ended(self, attempts: Sequence[EndedAttempt]) -> None:
        self.endings += attempts
        self._told.set()

    def rescued(self, rescues: Sequence[Rescued]) -> None:
        self.rescues += rescues

    def store_called(self, call: str, seconds: float, error: BaseException | None) -> None:
        self.calls.append((call, seconds, error))

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once the condition holds, which a submit or an ending makes true."""
        while not condition():
            self._told.clear()
            await self._told.wait()

    @property
    def answers(self) -> list[str]:
        return [one.answer.kind if one.answer is not None else type(one.error).__name__ for one in self.submits]

    @property
    def outcomes(self) -> list[str]:
        return [one.outcome for one in self.endings]

    def is_whole(self) -> bool:
        """Everything that began has ended, once."""
        begun = [(claim.owner, claim.id, claim.attempt) for claim in self.claims]
        ended = [(one.claim.owner, one.claim.id, one.claim.attempt) for one in self.endings]
        return sorted(begun) == sorted(ended) and len(self.submitting_jobs) == len(self.submits)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def manager(recorder: Recorder, open_manager: Callable[..., JobManager]) -> AsyncIterator[JobManager]:
    async with open_manager(*ALL, telemetry=recorder) as manager:
        yield manager


async def test_a_job_that_succeeds_is_told_at_each_step(manager: JobManager, recorder: Recorder) -> None:
    handle = await manager.submit(echo, "hi")
    assert await handle == "hi"

    (submit,), (claim,), (ending,) = recorder.submits, recorder.claims, recorder.endings
    assert (submit.job.id, submit.job.model, submit.job.queue) == (handle.id, "echo", "default")
    assert (recorder.answers, submit.limit, submit.is_known) == (["inserted"], "", True)
    assert (claim.id, claim.attempt, claim.ready_at) == (handle.id, 1, claim.created_at)
    assert (ending.claim, ending.outcome, ending.error) == (claim, "succeeded", None)
    assert 0 <= ending.run_seconds < 10
    assert recorder.is_whole()


async def test_many_jobs_are_told_in_the_batches_they_came_in(manager: JobManager, recorder: Recorder) -> None:
    for handle in await manager.submit_many([double.bind(number) for number in range(50)]):
        await handle

    assert (recorder.answers, recorder.outcomes) == (["inserted"] * 50, ["succeeded"] * 50)
    assert recorder.is_whole()


async def test_a_failure_is_told_with_its_error(manager: JobManager, recorder: Recorder) -> None:
    with pytest.raises(JobFailed):
        await (await manager.submit(fails, "no"))

    (ending,) = recorder.endings
    assert ending.error is not None
    assert (ending.outcome, ending.error.code, ending.error.type) == ("failed", "model_error", "ValueError")


async def test_each_attempt_of_a_retried_job_is_told(manager: JobManager, recorder: Recorder) -> None:
    await (await manager.submit(fails_twice, "hi"))
    await (await manager.submit(asks_for_later, "hi"))

    assert recorder.outcomes == ["retried", "retried", "succeeded", "retried", "succeeded"]
    assert [claim.attempt for claim in recorder.claims] == [1, 2, 3, 1, 2]
    later = recorder.claims[-1]
    assert later.ready_at is not None
    assert later.created_at < later.ready_at <= later.claimed_at
    assert (recorder.answers, recorder.is_whole()) == (["inserted"] * 2, True)


async def test_a_cancel_of_a_running_job_is_told(manager: JobManager, recorder: Recorder) -> None:
    handle = await manager.submit(waits_for_ever)
    await running(handle)
    await handle.cancel()
    with pytest.raises(JobCanceled):
        await handle

    assert recorder.outcomes == ["canceled"]
    assert recorder.is_whole()


async def test_a_job_canceled_while_it_waits_has_no_attempt(manager: JobManager, recorder: Recorder) -> None:
    handle = await manager.submit(echo.options(delay=60), "later")
    await handle.cancel()

    assert (recorder.answers, recorder.claims, recorder.endings) == (["inserted"], [], [])


async def test_a_job_that_is_known_already_is_told_as_existing(manager: JobManager, recorder: Recorder) -> None:
    first = await manager.submit(echo.options(idempotency_key="k"), "hi")
    await manager.submit(echo.options(idempotency_key="k"), "hi")
    with pytest.raises(IdempotencyConflict):
        await manager.submit(echo.options(idempotency_key="k"), "other")
    await first

    assert recorder.answers == ["inserted", "existing", "conflict"]
    assert recorder.is_whole()


async def test_a_refused_submit_is_told_with_its_limit(open_manager: Callable[..., JobManager]) -> None:
    recorder = Recorder()
    full = Limits(owner_queued_jobs=1, queues={"default": QueueLimits(queued_jobs=2)})
    async with open_manager(echo, telemetry=recorder, limits=full) as manager:
        await manager.pause("default")
        await manager.scoped("ann").submit(echo, "1")
        with pytest.raises(QuotaExceeded):
            await manager.scoped("ann").submit(echo, "2")
        await manager.scoped("bob").submit(echo, "3")
        with pytest.raises(QueueFull):
            await manager.submit_many([echo.bind("4"), echo.bind("5")])
        await manager.drain(0)
        with pytest.raises(Draining):
            await manager.submit(echo, "6")

    assert recorder.answers == ["inserted", "full", "inserted", "full", "full", "Draining"]
    limits = ["", "owner_queued_jobs", "", "queued_jobs", "queued_jobs", "draining"]
    assert [submit.limit for submit in recorder.submits] == limits
    assert len(recorder.submitting_jobs) == 6


async def test_a_submit_that_waits_for_room_is_told_once_it_has_it(open_manager: Callable[..., JobManager]) -> None:
    recorder = Recorder()
    one = Limits(queues={"default": QueueLimits(queued_jobs=1)})
    async with open_manager(echo, telemetry=recorder, limits=one) as manager:
        await manager.pause("default")
        first = await manager.submit(echo, "first")
        waiting = asyncio.create_task(manager.submit(echo.options(wait_for_room=True), "second"))
        await recorder.until(lambda: len(recorder.submitting_jobs) == 2)
        assert recorder.answers == ["inserted"]
        await manager.resume("default")
        assert [await first, await (await waiting)] == ["first", "second"]

    assert recorder.answers == ["inserted", "inserted"]


async def test_a_submit_that_the_store_does_not_take_is_told_as_failed(recorder: Recorder) -> None:
    async with MemoryStore() as store:
        faulty = FaultyStore(store)
        async with JobManager(faulty, models=[echo], telemetry=recorder) as manager:
            faulty.fail("insert", StoreUnavailable("away"))
            with pytest.raises(StoreUnavailable):
                await manager.submit(echo, "hi")

    assert (recorder.answers, recorder.submits[0].limit) == (["StoreUnavailable"], "")
    (error,) = [error for call, _, error in recorder.calls if call == "insert"]
    assert isinstance(error, StoreUnavailable)


async def test_a_retried_job_is_told_as_a_new_submit(manager: JobManager, recorder: Recorder) -> None:
    handle = await manager.submit(echo, "hi")
    await handle
    again = await manager.retry(handle.id)
    await again

    assert [submit.job.retry_of for submit in recorder.submits] == [None, handle.id]
    assert recorder.outcomes == ["succeeded", "succeeded"]


async def test_what_is_given_back_is_told(recorder: Recorder) -> None:
    async with JobManager("memory://", models=[waits_for_ever], telemetry=recorder) as manager:
        await running(await manager.submit(waits_for_ever))
        await manager.drain(0)

        assert recorder.outcomes == ["given_back"]
    assert recorder.is_whole()


async def test_a_rescue_is_told_with_what_became_of_the_job(recorder: Recorder) -> None:
    async with MemoryStore() as store:
        async with JobManager(store, models=[echo], run_jobs=False) as submitter:
            await submitter.submit(echo, "hi")
        await store.claim([ClaimRequest("wrk_dead", 1, 1, (ModelRoom("echo", 1),))])
        async with JobManager(store, models=[echo], lease=0.05, telemetry=recorder) as manager:
            await recorder.until(lambda: recorder.endings)
            assert (await manager.health()).rescued == 1

    (rescue,) = recorder.rescues
    assert (rescue.lease.worker, rescue.answer) == ("wrk_dead", "queued")
    assert [(claim.attempt, claim.ready_at) for claim in recorder.claims] == [(2, None)]
    assert recorder.is_whole()


async def test_a_lost_lease_is_told(recorder: Recorder) -> None:
    async with (
        MemoryStore() as store,
        JobManager(store, models=[waits_for_ever], lease=0.05, telemetry=recorder, drain_grace=0) as manager,
    ):
        handle = await manager.submit(waits_for_ever)
        await running(handle)
        await store.rescue(await store.leases(None, 10))
        await recorder.until(lambda: recorder.endings)

        assert recorder.outcomes == ["lease_lost"]


async def test_a_worker_that_breaks_is_told(recorder: Recorder) -> None:
    class Breaks(LoopExecutor):
        async def run(self, call: Call) -> Sequence[Outcome]:
            raise OSError("the pipe is broken")

    async with JobManager("memory://", models=[echo], executors={"loop": Breaks()}, telemetry=recorder) as manager:
        with pytest.raises(JobFailed):
            await (await manager.submit(echo, "hi"))

    assert recorder.outcomes == ["worker_lost"] * 3
    assert recorder.is_whole()


async def test_what_the_store_never_took_is_told_when_the_manager_closes(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asyncinfer._engine.CLOSE_SECONDS", 0.05)
    async with MemoryStore() as store:
        faulty = FaultyStore(store)
        async with JobManager(faulty, models=[echo], drain_grace=0, telemetry=recorder) as manager:
            failing = faulty.fail("finish", StoreUnavailable("away"), times=None)
            await manager.submit(echo, "hi")
            await failing.reached.wait()

    assert recorder.outcomes == ["unwritten"]
    assert recorder.is_whole()


async def test_every_call_of_the_store_is_measured(manager: JobManager, recorder: Recorder) -> None:
    await (await manager.submit(echo, "hi"))
    await manager.counts()

    counted = Counter(call for call, _, _ in recorder.calls)
    assert counted["insert"] == counted["finish"] == counted["counts"] == 1
    assert counted["claim"] >= 1
    assert all(0 <= seconds < 10 and error is None for _, seconds, error in recorder.calls)


async def test_the_models_code_runs_inside_what_a_telemetry_enters(open_manager: Callable[..., JobManager]) -> None:
    @model
    async def on_the_loop() -> str:
        await asyncio.sleep(0)
        return watched.get()

    @model
    def in_a_thread() -> str:
        return watched.get()

    async with open_manager(on_the_loop, in_a_thread, telemetry=Recorder()) as manager:
        assert await (await manager.submit(on_the_loop)) == "attempt 1"
        assert await (await manager.submit(in_a_thread)) == "attempt 1"
    assert watched.get() == ""


async def test_a_batch_is_entered_once(open_manager: Callable[..., JobManager], recorder: Recorder) -> None:
    class Sizes:
        async def predict_batch(self, items: list[int]) -> list[int]:
            assert len(current_batch()) == len(items)
            return [len(items)] * len(items)

    sizes = model(Sizes, name="sizes", batch=Batch(max_size=4))
    async with open_manager(sizes, telemetry=recorder) as manager:
        await manager.pause("default")
        handles = await manager.submit_many([sizes.bind(number) for number in range(4)])
        await manager.resume("default")
        assert [await handle for handle in handles] == [4] * 4

    assert recorder.batches == [4]
    assert recorder.outcomes == ["succeeded"] * 4


async def test_a_telemetry_gives_jobs_their_traceparent(open_manager: Callable[..., JobManager]) -> None:
    class Traces(Recorder):
        def submitting(self, jobs: Sequence[NewJob]) -> Sequence[str | None]:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
            super().submitting(jobs)
            return [TRACEPARENT if job.traceparent is None else None for job in jobs]

    recorder = Traces()
    other = TRACEPARENT.replace("b7ad", "0000")
    async with open_manager(echo, telemetry=[Telemetry(), recorder]) as manager:
        for submission in (echo, echo.options(traceparent=other)):
            await (await manager.submit(submission, "hi"))

    assert [job.traceparent for job in recorder.submitting_jobs] == [None, other]
    assert [submit.job.traceparent for submit in recorder.submits] == [TRACEPARENT, other]
    assert [claim.traceparent for claim in recorder.claims] == [TRACEPARENT, other]


class Raises(Telemetry):
    """Has a defect in every method."""

    def __getattribute__(self, name: str) -> Any:  # Any: whatever method is asked for
        if name in vars(Telemetry) and name[0] != "_":
            raise ZeroDivisionError(name)
        return super().__getattribute__(name)


class Lies(Telemetry):
    """Returns what no store may be given."""

    def submitting(self, jobs: Sequence[NewJob]) -> Sequence[str | None]:
        return ["\ud800"] * len(jobs)

    def running(self, claims: Sequence[Claim]) -> Any:  # Any: it lies
        return 7


@pytest.mark.parametrize("kind", [Raises, Lies])
async def test_a_telemetry_with_a_defect_harms_nothing(
    kind: type[Telemetry], open_manager: Callable[..., JobManager], recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR, "asyncinfer.telemetry")
    async with open_manager(*ALL, telemetry=[kind(), recorder]) as manager:
        handles = await manager.submit_many([echo.bind("hi")] * 5)
        assert [await handle for handle in handles] == ["hi"] * 5
        assert await (await manager.submit(double, 4)) == 8

    assert recorder.outcomes == ["succeeded"] * 6
    assert recorder.is_whole()
    told = Counter(record.args[1] for record in caplog.records if isinstance(record.args, tuple))
    assert {"submitting", "running"} <= set(told)
    assert set(told.values()) == {1}


async def test_one_that_begins_to_watch_an_open_manager_is_told_from_then_on(recorder: Recorder) -> None:
    async with MemoryStore() as store, JobManager(store, models=(echo, waits_for_ever)) as manager:
        early = await manager.submit(waits_for_ever)
        await running(early)
        manager.observe(recorder)
        manager.observe(recorder)  # twice is once
        await (await manager.submit(echo, "hi"))
        await early.cancel()
        with pytest.raises(JobCanceled):
            await early

    assert sorted(recorder.outcomes) == ["canceled", "succeeded"]
    assert all(0 <= one.run_seconds < 10 for one in recorder.endings)
    assert {"insert", "finish", "request_cancel"} <= {call for call, _, _ in recorder.calls}


async def test_without_telemetry_nothing_is_in_the_way() -> None:
    async with MemoryStore() as store, JobManager(store, models=[echo]) as manager:
        engine = manager._core.engine
        parts = (engine.worker, engine.finisher, engine.journal, engine.heartbeat, engine.rescuer, engine.pruner)

        assert engine.store is store
        assert all(part._store is store for part in parts)
        assert not engine.observers.all


async def test_with_telemetry_every_part_speaks_to_the_measured_store(manager: JobManager) -> None:
    engine = manager._core.engine
    parts = (engine.worker, engine.finisher, engine.journal, engine.heartbeat, engine.rescuer, engine.pruner)

    assert isinstance(engine.store, MeasuredStore)
    assert all(part._store is engine.store for part in parts)


def test_a_telemetry_of_the_wrong_type_is_named() -> None:
    with pytest.raises(InvalidOption, match="telemetry"):
        JobManager("memory://", telemetry=[object()])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
