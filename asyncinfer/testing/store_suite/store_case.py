"""What every part of the StoreSuite stands on: a store, its clock, and the place where it lies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar

import pytest
import pytest_asyncio

from asyncinfer.abc import Clock, JobStore
from asyncinfer.testing.fake_clock import FakeClock

OpenStore = Callable[[], Awaitable[JobStore]]


class StoreCase:
    """A part of the suite. A backend subclasses StoreSuite, which has them all, and overrides `make_store`."""

    pytestmark: ClassVar[pytest.MarkDecorator] = pytest.mark.asyncio(loop_scope="function")

    def make_store(self, clock: Clock, place: Path) -> JobStore:
        """Return a store, not yet opened, that reads its time from `clock` and keeps its jobs at `place`.

        `place` is an empty folder, new for each test: a store that keeps nothing there uses its path as a namespace.
        Asked again with the same place, a durable store finds what it kept.
        """
        raise NotImplementedError(f"{type(self).__name__} must override make_store(clock, place)")

    @pytest.fixture
    def clock(self) -> FakeClock:
        """Return the clock that is lent to every store of the test."""
        return FakeClock()

    @pytest_asyncio.fixture(loop_scope="function")
    async def open_store(self, clock: FakeClock, tmp_path: Path) -> AsyncIterator[OpenStore]:
        """Open stores on the test's one place, as often as it is called, and close them all at the end."""
        async with AsyncExitStack() as opened:

            async def open_another() -> JobStore:
                store = self.make_store(clock, tmp_path)
                opened.push_async_callback(store.close)
                await store.open()
                return store

            yield open_another

    @pytest_asyncio.fixture(loop_scope="function")
    async def store(self, open_store: OpenStore) -> JobStore:
        """Return the opened store that the test is about."""
        return await open_store()


def durable(store: JobStore) -> None:
    """Skip the test unless the store keeps what it has answered."""
    if not store.features.is_durable:
        pytest.skip(f"StoreFeatures.is_durable is False: {store.features.durability}")


def shared(store: JobStore) -> None:
    """Skip the test unless several may open the store at once."""
    if not store.features.is_shared:
        pytest.skip("StoreFeatures.is_shared is False: one process holds it alone")


def death_proving(store: JobStore) -> None:
    """Skip the test unless the store can prove that a worker is dead."""
    if not store.features.proves_death:
        pytest.skip("StoreFeatures.proves_death is False: a lost worker is known by its lease alone")
