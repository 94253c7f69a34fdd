"""Wake whoever waits for a job: at once for changes made here, by the store's hints for those made elsewhere."""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import Callable, Sequence
from weakref import WeakValueDictionary

from msgspec import Struct

from asyncinfer._clock import Clock
from asyncinfer._job import Job, JobError, JobKey, Status
from asyncinfer._limits import KIB, MIB
from asyncinfer.abc import JobStore
from asyncinfer.errors import StoreError

POLL_SECONDS = 1.0
"""A lost hint costs at most this: everything waited for is looked up again."""
KEPT_RESULT_BYTES = 64 * MIB
"""Results that live handles may hold before they are awaited; what goes beyond is read from the store again."""
SMALL_RESULT_BYTES = 4 * KIB
"""Not counted: the handle itself weighs about as much."""
LOOK_UP = 1_000
"""Jobs looked up at a time; more of them take turns, so that a busy neighbour does not cost us our loop."""
logger = logging.getLogger("asyncinfer.waiters")


class Ending(Struct, frozen=True, gc=False):
    """How a job ended. `result` is None when it must be read from the store."""

    status: Status
    result: bytes | None
    error: JobError | None


class Waiter:
    """What every live handle of one job shares: the ending once it is known, a future for each who waits."""

    __slots__ = ("__weakref__", "ending", "futures", "is_claimed_here", "key", "seen_hints")

    def __init__(self, key: JobKey) -> None:
        self.key = key
        self.ending: Ending | None = None
        self.futures: list[asyncio.Future[Ending | None]] | None = None
        self.is_claimed_here = False
        self.seen_hints = -1
        """How many hints had come when the job was certainly still to end; -1: nothing is known of it."""


class Waiters:
    """The live handles and event streams of one manager."""

    def __init__(self, store: JobStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiters: WeakValueDictionary[JobKey, Waiter] = WeakValueDictionary()
        self._awaited: dict[JobKey, Waiter] = {}
        self._watched: dict[JobKey, set[asyncio.Event]] = {}
        self._kept_bytes = 0
        self._suspects: list[JobKey] = []
        self._hints = 0
        self._look = asyncio.Event()

    def waiter(self, key: JobKey) -> Waiter:
        """Return the waiter that all handles of this job share."""
        found = self._waiters.get(key)
        if found is None:
            found = self._waiters[key] = Waiter(key)
        return found

    def alias(self, waiter: Waiter, key: JobKey) -> Waiter:
        """Return the waiter of `key`, which answers for the submission that made `waiter`."""
        if key == waiter.key:
            waiter.seen_hints = -1
            return waiter
        self._waiters.pop(waiter.key, None)
        return self.waiter(key)

    def submitted(self, waiter: Waiter) -> None:
        """Note that the job is about to be inserted: until a hint comes, only this manager can have ended it."""
        waiter.seen_hints = self._hints

    def claimed(self, key: JobKey) -> None:
        """Note that this manager runs the job now."""
        waiter = self._waiters.get(key)
        if waiter is not None:
            waiter.is_claimed_here = True
        if self._watched:
            self.changed(key)

    def ended(self, key: JobKey, ending: Ending) -> None:
        """Hand an ending that has just been committed to whoever waits for it here."""
        waiter = self._waiters.get(key)
        if waiter is not None and waiter.ending is None:
            waiter.ending = self._keep(waiter, ending)
            _resolve(waiter, ending)
        if self._watched:
            self.changed(key)

    def changed(self, key: JobKey) -> None:
        """Wake the event streams of this job."""
        for event in self._watched.get(key, ()):
            event.set()

    async def wait(self, waiter: Waiter) -> Ending | None:
        """Return the job's ending, or None when the store does not know the job."""
        if waiter.ending is not None:
            return waiter.ending
        future: asyncio.Future[Ending | None] = asyncio.get_running_loop().create_future()
        if waiter.futures is None:
            waiter.futures = [future]
            self._awaited[waiter.key] = waiter
        else:
            waiter.futures.append(future)
        if not waiter.is_claimed_here and waiter.seen_hints != self._hints:
            self._suspects.append(waiter.key)
            self._look.set()
        try:
            return await future
        finally:
            waiter.futures.remove(future)
            if not waiter.futures:
                waiter.futures = None
                self._awaited.pop(waiter.key, None)

    def watch(self, key: JobKey, event: asyncio.Event) -> Callable[[], None]:
        """Set `event` at every change of the job until the returned function is called."""
        self._watched.setdefault(key, set()).add(event)

        def unwatch() -> None:
            events = self._watched[key]
            events.discard(event)
            if not events:
                del self._watched[key]

        return unwatch

    def requeued(self, key: JobKey) -> None:
        """Note that the job no longer runs here, and has not ended."""
        waiter = self._waiters.get(key)
        if waiter is not None:
            waiter.is_claimed_here = False
        if self._watched:
            self.changed(key)

    def look_soon(self, keys: Sequence[JobKey]) -> None:
        """Look these up in the next turn: they were moved by someone else's step."""
        self._hints += 1
        self._suspects.extend(key for key in keys if key in self._awaited)
        for key in keys:
            self.requeued(key)
        self._look.set()

    async def follow(self, on_hint: Callable[[Sequence[JobKey] | None], None]) -> None:
        """Pass on the store's hints of changes made elsewhere, for as long as the store is open."""
        async for keys in self._store.changes():
            self._hints += 1
            on_hint(keys)
            if keys is None:
                self._wake_all_watchers()
                await self._look_up(self._next_awaited())
            else:
                for key in keys:
                    self.changed(key)
                await self._look_up([key for key in keys if key in self._awaited])

    async def poll(self) -> None:
        """Look up what somebody began to wait for, in one call, and all the rest now and then: a hint may be lost."""
        while True:
            if not self._suspects and await self._timed_out():
                self._wake_all_watchers()
                self._suspects.extend(self._next_awaited())
            suspects, self._suspects = self._suspects[:LOOK_UP], self._suspects[LOOK_UP:]
            try:
                await self._look_up(suspects)
            except StoreError as error:
                logger.warning("could not look for endings: %s", error)

    async def _timed_out(self) -> bool:
        """Wait until there is a suspect, or until the next poll is due."""
        self._look.clear()
        timer = self._clock.call_later(POLL_SECONDS, self._look.set)
        try:
            await self._look.wait()
        finally:
            timer.cancel()
        return not self._suspects

    def _next_awaited(self) -> Sequence[JobKey]:
        """Take the next jobs that are waited for and do not run here, in turn."""
        chosen = [key for key, waiter in self._awaited.items() if not waiter.is_claimed_here][:LOOK_UP]
        for key in chosen:
            self._awaited[key] = self._awaited.pop(key)
        return chosen

    async def _look_up(self, keys: Sequence[JobKey]) -> None:
        if not keys:
            return
        for key, job in zip(keys, await self._store.get(keys), strict=True):
            if job is None:
                _resolve(self.waiter(key), None)
            elif job.is_terminal:
                self.ended(key, ending_of(job))

    def _wake_all_watchers(self) -> None:
        for events in self._watched.values():
            for event in events:
                event.set()

    def _keep(self, waiter: Waiter, ending: Ending) -> Ending:
        size = 0 if ending.result is None else len(ending.result)
        if size <= SMALL_RESULT_BYTES:
            return ending
        if self._kept_bytes + size > KEPT_RESULT_BYTES:
            return Ending(ending.status, None, ending.error)
        self._kept_bytes += size
        weakref.finalize(waiter, self._let_go, size)
        return ending

    def _let_go(self, size: int) -> None:
        self._kept_bytes -= size


def ending_of(job: Job) -> Ending:
    """Return how a terminal job ended."""
    return Ending(job.status, job.result, job.error)


def _resolve(waiter: Waiter, ending: Ending | None) -> None:
    for future in waiter.futures or ():
        if not future.done():
            future.set_result(ending)
