"""How a project tests its own models: plain calls, a manager on the memory store, a clock that it moves by hand."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from asyncinfer import InvalidInput, JobFailed, JobManager, RetryPolicy, current_job, model
from asyncinfer.errors import StoreUnavailable
from asyncinfer.testing import FakeClock, FaultyStore
from asyncinfer_memory import MemoryStore


@model
def caption(image: bytes, *, lang: str = "en") -> str:
    return f"{len(image)} bytes in {lang}"


@model(retry=RetryPolicy(max_attempts=2, initial_delay=30, jitter=0, retry_on=(ConnectionError,)))
async def fetch(url: str) -> str:
    if current_job().attempt == 1:
        raise ConnectionError("not reachable")
    return f"the page of {url}"


def test_a_model_is_still_the_function_it_was() -> None:
    assert caption(b"12345", lang="fr") == "5 bytes in fr"


@pytest_asyncio.fixture
async def manager() -> AsyncIterator[JobManager]:
    async with JobManager("memory://", models=[caption, fetch]) as manager:
        yield manager


@pytest.mark.asyncio
async def test_a_job_gives_what_a_call_gives(manager: JobManager) -> None:
    job = await manager.submit(caption, b"12345")
    assert await job.result(timeout=10) == caption(b"12345")


@pytest.mark.asyncio
async def test_a_wrong_input_is_refused_before_anything_is_stored(manager: JobManager) -> None:
    with pytest.raises(InvalidInput, match=r"input\.lang: expected str, got int"):
        await manager.submit(manager.model("caption"), b"12345", lang=3)


@pytest.mark.asyncio
async def test_half_a_minute_of_backoff_takes_no_time() -> None:
    clock = FakeClock()
    async with JobManager(MemoryStore(clock), models=[fetch]) as manager:
        job = await manager.submit(fetch, "https://example.com")
        await clock.advance(29)
        assert await job.status() == "queued"
        await clock.advance(2)
        assert await job == "the page of https://example.com"


@pytest.mark.asyncio
async def test_a_deadline_passes_while_the_store_is_away() -> None:
    clock = FakeClock()
    store = FaultyStore(MemoryStore(clock))
    async with JobManager(store, models=[caption]) as manager:
        store.fail("claim", StoreUnavailable, times=None)
        job = await manager.submit(caption.options(queue_timeout=60), b"12345")
        await clock.advance(62)
        with pytest.raises(JobFailed) as caught:
            await job
        assert caught.value.code == "queue_timeout"
