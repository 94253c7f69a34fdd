"""A manager on each embedded store, as an async fixture: entered and left in the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from asyncinfer import JobManager, Model

Open = Callable[..., AbstractAsyncContextManager[JobManager]]


@pytest.fixture(params=["memory", "sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def open_manager(store_url: str) -> Callable[..., JobManager]:
    """Return a function that makes a manager of the given models on the test's store."""

    def make(*models: Model[..., Any, Any], **options: Any) -> JobManager:  # Any: whatever JobManager takes
        return JobManager(store_url, models=models, **options)

    return make


@pytest.fixture
async def manager(open_manager: Callable[..., JobManager]) -> AsyncIterator[JobManager]:
    from tests.manager import models

    async with open_manager(*models.ALL) as manager:
        yield manager
