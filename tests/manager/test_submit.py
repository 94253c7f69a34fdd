"""From submit to result."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from asyncinfer import IdempotencyConflict, InvalidInput, JobFailed, JobManager, Retention, Submission
from asyncinfer.errors import InvalidOption, TooLarge, UnknownJob, UnknownModel
from tests.manager.models import Point, asks_for_later, double, echo, fails, fails_twice, mirror, resumes


async def test_an_async_model_answers(manager: JobManager) -> None:
    assert await (await manager.submit(echo, "hello")) == "hello"


async def test_a_def_model_answers_from_a_thread(manager: JobManager) -> None:
    assert await (await manager.submit(double, 21)) == 42


async def test_a_struct_goes_in_and_comes_out_as_itself(manager: JobManager) -> None:
    assert await (await manager.submit(mirror, Point(1, 2))) == Point(2, 1)


async def test_many_jobs_are_answered_each_with_its_own_result(manager: JobManager) -> None:
    handles = await manager.submit_many([double.bind(number) for number in range(2_500)])
    assert await asyncio.gather(*handles) == [2 * number for number in range(2_500)]


async def test_a_result_can_be_awaited_again(manager: JobManager) -> None:
    handle = await manager.submit(echo, "twice")
    assert [await handle, await handle, await manager.handle(handle.id, echo)] == ["twice"] * 3


async def test_the_record_tells_of_the_whole_life(manager: JobManager) -> None:
    handle = await manager.submit(echo.options(priority=2, labels={"run": "7"}, metadata={"who": "me"}), "hi")
    await handle
    job = await manager.get(handle.id)
    assert (job.status, job.model, job.queue, job.attempt, job.priority) == ("succeeded", "echo", "default", 1, 2)
    assert job.labels == {"run": "7"}
    assert job.created_at <= (job.started_at or 0) <= (job.finished_at or 0)
    (attempt,) = await manager.attempts(handle.id)
    assert (attempt.number, attempt.outcome) == (1, "succeeded")


async def test_a_model_error_reaches_whoever_awaits(manager: JobManager) -> None:
    handle = await manager.submit(fails, "no such luck")
    with pytest.raises(JobFailed, match="no such luck") as caught:
        await handle
    assert (caught.value.code, caught.value.error.type, caught.value.job_id) == ("model_error", "ValueError", handle.id)


async def test_a_retried_model_succeeds_at_last(manager: JobManager) -> None:
    handle = await manager.submit(fails_twice, "third time")
    assert await handle == "third time"
    job = await manager.get(handle.id)
    assert (job.attempt, job.failures) == (3, 2)


async def test_a_model_may_ask_to_be_run_later(manager: JobManager) -> None:
    handle = await manager.submit(asks_for_later, "soon")
    assert await handle == "soon"
    assert (await manager.get(handle.id)).attempt == 2


async def test_a_retry_goes_on_from_the_checkpoint(manager: JobManager) -> None:
    assert await (await manager.submit(resumes, 4)) == [0, 1, 2, 3]


async def test_a_wrong_input_is_refused_and_nothing_is_stored(manager: JobManager) -> None:
    with pytest.raises(InvalidInput, match=r"input\.number: expected int, got str"):
        await manager.submit(double, "two")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  what is tried
    assert not (await manager.find()).jobs


async def test_a_model_that_is_not_registered_is_refused(manager: JobManager) -> None:
    from asyncinfer import model

    @model(name="stranger")
    async def stranger() -> None: ...

    with pytest.raises(UnknownModel, match="stranger"):
        await manager.submit(stranger)


async def test_a_name_instead_of_a_model_says_what_to_write(manager: JobManager) -> None:
    with pytest.raises(InvalidOption, match=r"manager\.model\('echo'\)"):
        await manager.submit("echo", "hi")  # type: ignore[arg-type]  # pyright: ignore  what is tried


async def test_a_model_can_be_submitted_by_name(manager: JobManager) -> None:
    assert await (await manager.submit(manager.model("double"), number=4)) == 8


async def test_the_same_key_and_input_is_the_same_job(manager: JobManager) -> None:
    first = await manager.submit(echo.options(idempotency_key="order-7"), "hi")
    second = await manager.submit(echo.options(idempotency_key="order-7"), "hi")
    assert (second.id, first.is_existing, second.is_existing) == (first.id, False, True)
    assert await second == "hi"


async def test_the_same_key_with_another_input_names_the_first_job(manager: JobManager) -> None:
    first = await manager.submit(echo.options(idempotency_key="order-7"), "hi")
    with pytest.raises(IdempotencyConflict) as caught:
        await manager.submit(echo.options(idempotency_key="order-7"), "ho")
    assert caught.value.job_id == first.id


async def test_dedup_answers_with_the_job_of_the_same_input(manager: JobManager) -> None:
    first = await manager.submit(echo.options(dedup=True), "hi")
    second = await manager.submit(echo.options(dedup=True), "hi")
    other = await manager.submit(echo.options(dedup=True), "ho")
    assert second.id == first.id != other.id


async def test_an_id_may_be_chosen(manager: JobManager) -> None:
    handle = await manager.submit(echo.options(job_id="my-own"), "hi")
    assert handle.id == "my-own"
    assert await manager.handle("my-own", echo) == "hi"


async def test_an_unknown_job_is_unknown(manager: JobManager) -> None:
    with pytest.raises(UnknownJob, match="job_nope"):
        await manager.get("job_nope")
    with pytest.raises(UnknownJob, match="job_nope"):
        await manager.handle("job_nope")


async def test_metadata_over_its_limit_is_refused_with_both_numbers(manager: JobManager) -> None:
    with pytest.raises(TooLarge, match=r"metadata: \d+ bytes, the limit is 16384"):
        await manager.submit(echo.options(metadata="x" * 20_000), "hi")


async def test_a_deadline_in_the_past_fails_the_job(manager: JobManager) -> None:
    passed = datetime.now(UTC) - timedelta(seconds=1)
    with pytest.raises(JobFailed) as caught:
        await (await manager.submit(echo.options(deadline=passed), "late"))
    assert caught.value.code == "deadline"


async def test_a_delayed_job_waits_for_its_time(manager: JobManager) -> None:
    handle = await manager.submit(echo.options(delay=0.2), "later")
    assert await handle == "later"
    job = await manager.get(handle.id)
    assert (job.started_at or 0) >= (job.not_before or 0) >= job.created_at + 100


async def test_a_result_past_its_retention_is_gone(manager: JobManager) -> None:
    handle = await manager.submit(echo.options(retention=Retention(result=0, record=3_600)), "short-lived")
    await handle
    assert (await manager.get(handle.id)).status == "succeeded"


async def test_the_result_waits_no_longer_than_asked(manager: JobManager) -> None:
    handle = await manager.submit(echo.options(delay=60), "later")
    with pytest.raises(TimeoutError):
        await handle.result(timeout=0.01)
    assert await handle.status() == "queued"


async def test_a_bound_submission_is_told_as_it_was_accepted(manager: JobManager) -> None:
    await manager.pause("default")
    bound = echo.options(priority=2, delay=60, labels={"run": "7"}, metadata=[1]).bind("hi")
    handle, told = await manager.submit_bound(bound)

    assert msgspec.structs.replace(await handle.job(), tag=told.tag) == told


async def test_a_bound_submission_that_is_there_already_is_told_as_it_stands(manager: JobManager) -> None:
    first = await manager.submit(echo.options(idempotency_key="k"), "hi")
    await first
    handle, told = await manager.submit_bound(echo.options(idempotency_key="k").bind("hi"))

    assert (handle.is_existing, told.id, told.status) == (True, first.id, "succeeded")


async def test_a_large_input_is_hashed_off_the_loop(manager: JobManager, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[int] = set()
    fingerprint = Submission[str].fingerprint

    def noting(submission: Submission[str]) -> bytes:
        if not submission.hashed:
            threads.add(threading.get_ident())
        return fingerprint(submission)

    monkeypatch.setattr(Submission, "fingerprint", noting)
    large, keyed = "x" * 300_000, echo.options(idempotency_key="k")
    first = await manager.submit(keyed, large)
    (second,) = await manager.submit_many([keyed.bind(large)])

    assert second.id == first.id
    assert threads
    assert threading.get_ident() not in threads
