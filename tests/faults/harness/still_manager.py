"""A manager that does nothing by itself, for webhooks over days of fake time: a real one looks around every second."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from asyncinfer import JobManager, Subscription
from asyncinfer.abc import Claim, Clock, Job, JobKey, JobStore, Outbox
from asyncinfer.testing.builders import new_job, success
from asyncinfer.testing.steps import end, start


class StillManager:
    """What a sender needs of a manager, over a real store; jobs are ended by hand."""

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self._store = store
        self.clock = clock
        self.is_open = True
        self._tellers: list[Callable[[], None]] = []

    @property
    def outbox(self) -> Outbox:
        return self._store.outbox

    async def records(self, keys: Sequence[JobKey], *, with_result: bool = True) -> Sequence[Job | None]:
        return await self._store.get(keys, with_result=with_result)

    def on_ending(self, tell: Callable[[], None]) -> Callable[[], None]:
        self._tellers.append(tell)
        return lambda: self._tellers.remove(tell)

    def on_live(self, tell: Callable[[Sequence[Claim]], None]) -> Callable[[], None]:
        return lambda: None

    @property
    def as_manager(self) -> JobManager:
        return cast("JobManager", self)

    async def end_one(self, target: str, owner: str = "alice") -> str:
        """End a job whose ending is owed to the target; return its id."""
        job = new_job(owner=owner, subscriptions=(Subscription(target),))
        await end(self._store, success(await start(self._store, job), b"\xa5hello"))
        for tell in self._tellers:
            tell()
        return job.id
