"""Jobs as the commands show them, told by a store or by a service, and what is asked of either."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import Struct

from asyncinfer import Attempt, JobError, JobFilter, Progress, Status
from asyncinfer.abc import StoredEvent

SHOWN_EVENTS = 1_000
"""The oldest events of a job that are shown."""


class SeenJob(Struct, frozen=True, kw_only=True):
    """A job as it stands; None is also what a service does not tell. Instants are milliseconds since 1970 UTC."""

    id: str
    owner: str | None
    model: str
    queue: str | None
    status: Status
    revision: int
    created_at: int
    not_before: int | None
    deadline: int | None
    started_at: int | None
    finished_at: int | None
    forget_at: int | None
    cancel_requested_at: int | None
    attempt: int
    failures: int
    max_attempts: int
    crashes: int
    crash_budget: int | None
    priority: int
    time_limit_seconds: float | None
    worker: str | None
    progress: Progress | None
    error: JobError | None
    labels: dict[str, str]
    metadata: Any
    """As JSON can hold it."""
    retry_of: str | None


class SeenPage(NamedTuple):
    """Some jobs, newest first."""

    jobs: Sequence[SeenJob]
    next_cursor: str | None


class SeenWhole(NamedTuple):
    """All that is known of one job."""

    job: SeenJob
    attempts: Sequence[Attempt]
    events: Sequence[StoredEvent]
    result: object
    has_result: bool


class Change(NamedTuple):
    """What became of a wish to change a job."""

    job_id: str
    answer: str


Wish = Literal["cancel", "retry"]


class Jobs(Protocol):
    """The jobs of a store or of a service."""

    async def page(self, matching: JobFilter, *, after: str | None, limit: int) -> SeenPage:
        """Return jobs without results; the next ones lie behind the page's cursor."""
        ...

    async def whole(self, job_id: str) -> SeenWhole:
        """Raises UnknownJob or JobExpired."""
        ...

    async def change(self, wish: Wish, job_id: str) -> Change:
        """Change one job. Raises AsyncinferError, which is then about this job alone."""
        ...

    def change_all(self, wish: Wish, matching: JobFilter) -> AsyncGenerator[Change]:
        """Change every job that matches and that the wish can be for, and tell of each."""
        ...
