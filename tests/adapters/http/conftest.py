"""The contract over a manager in memory, asked in the test's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp

from asyncinfer import JobManager
from asyncinfer.adapters.http import create_app
from tests.adapters.http.models import ALL
from tests.adapters.http.steps import BASE

MakeApp = Callable[..., ASGIApp]
Connect = Callable[..., httpx.AsyncClient]


def connected(app: ASGIApp, **options: Any) -> httpx.AsyncClient:  # Any: whatever httpx.AsyncClient takes
    """Return a client of the application; what escapes the application is raised to the test."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE, **options)


@pytest.fixture
async def manager() -> AsyncIterator[JobManager]:
    async with JobManager("memory://", models=ALL, cancel_grace=0.5, drain_grace=0) as manager:
        yield manager


@pytest.fixture
async def client(manager: JobManager) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(create_app(manager, public_base_url=BASE, allow_anonymous=True)) as client:
        yield client
