"""Workers: who runs jobs now, and which models anyone has published."""

from __future__ import annotations

from asyncinfer.abc import Backoff, JobStore, PublishedModel, WorkerInfo
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.store_suite.store_case import OpenStore, StoreCase, durable

ECHO = PublishedModel(
    name="echo",
    queue="default",
    executor="thread",
    input_schema=b'{"type": "object"}',
    result_schema=b"{}",
    max_attempts=3,
    crash_budget=2,
    backoff=Backoff(initial_delay=5),
    time_limit=1_000,
    queue_timeout=2_000,
)
CAPTION = PublishedModel(name="caption", queue="gpu")


def worker(name: str = "worker-1", *models: PublishedModel) -> WorkerInfo:
    """Return a manager that runs the models."""
    return WorkerInfo(worker=name, host="host", pid=7, started_at=123, slots={"thread": 4}, models=models)


async def names(store: JobStore) -> list[str]:
    """Return the workers that are known, sorted."""
    return sorted(info.worker for info in await store.workers())


class WorkerTests(StoreCase):
    async def test_a_registered_worker_is_known_as_it_is(self, store: JobStore) -> None:
        await store.register(worker("worker-1", ECHO), 10_000)

        assert list(await store.workers()) == [worker("worker-1", ECHO)]

    async def test_a_worker_that_leaves_is_forgotten(self, store: JobStore) -> None:
        await store.register(worker("worker-1"), 10_000)
        await store.register(worker("worker-2"), 10_000)

        await store.unregister("worker-1")
        await store.unregister("nobody")

        assert await names(store) == ["worker-2"]

    async def test_a_silent_worker_is_forgotten_after_its_lease(self, store: JobStore, clock: FakeClock) -> None:
        await store.register(worker("worker-1"), 10_000)

        await clock.advance(9)
        assert await names(store) == ["worker-1"]
        await clock.advance(2)

        assert await names(store) == []

    async def test_an_extend_of_nothing_keeps_a_worker_known(self, store: JobStore, clock: FakeClock) -> None:
        await store.register(worker("worker-1"), 10_000)
        for _ in range(3):
            await clock.advance(8)
            assert list(await store.extend("worker-1", [], 10_000)) == []

        assert await names(store) == ["worker-1"]

    async def test_a_worker_that_registers_again_replaces_what_it_said(self, store: JobStore) -> None:
        await store.register(worker("worker-1"), 10_000)

        await store.register(worker("worker-1", ECHO), 10_000)

        assert list(await store.workers()) == [worker("worker-1", ECHO)]

    async def test_an_extend_of_a_worker_that_never_registered_is_no_error(self, store: JobStore) -> None:
        await store.extend("nobody", [], 10_000)

        assert await names(store) == []


class PublishedModelTests(StoreCase):
    async def test_published_models_come_by_name(self, store: JobStore) -> None:
        await store.register(worker("worker-1", ECHO), 10_000)
        await store.register(worker("worker-2", CAPTION, ECHO), 10_000)

        assert list(await store.models()) == [CAPTION, ECHO]

    async def test_a_model_outlives_the_worker_that_published_it(self, store: JobStore) -> None:
        await store.register(worker("worker-1", ECHO), 10_000)

        await store.unregister("worker-1")

        assert list(await store.models()) == [ECHO]

    async def test_the_newest_publication_of_a_model_holds(self, store: JobStore) -> None:
        await store.register(worker("worker-1", ECHO), 10_000)
        changed = PublishedModel(name="echo", queue="other")

        await store.register(worker("worker-2", changed), 10_000)

        assert list(await store.models()) == [changed]

    async def test_models_survive_a_restart(self, store: JobStore, open_store: OpenStore) -> None:
        durable(store)
        await store.register(worker("worker-1", ECHO), 10_000)
        await store.close()

        assert list(await (await open_store()).models()) == [ECHO]
