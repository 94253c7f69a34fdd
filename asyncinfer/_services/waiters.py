"""Wake whoever waits for a job: at once for changes made here, by the store's hints for those made elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import Struct

from asyncinfer._clock import Clock
from asyncinfer._job import Job, JobError, JobKey, Status
from asyncinfer._limits import KIB, MIB
from asyncinfer._services.uses_store import UsesStore
from asyncinfer.abc import JobStore
from asyncinfer.errors import StoreError

POLL_SECONDS = 1.0
"""A lost hint costs at most this: everything waited for is looked up again."""
KEPT_RESULT_BYTES = 64 * MIB
"""Results that live handles may hold before they are awaited; what goes beyond is read from the store again."""
SMALL_RESULT_BYTES = 4 * KIB
"""Not counted: the handle itself weighs about as much."""
SUBMITTED_KEPT = 65_536
"""Submitted jobs to whose handles an ending is handed without a look-up: so many at least, twice as many at most."""
LOOK_UP = 1_000
"""Jobs looked up at a time, and in all at each poll: more of them take turns."""
REST = 2.0
"""Pauses between looks at everything are so many times as long as these: a busy neighbour must not cost us our loop."""
logger = logging.getLogger("asyncinfer.waiters")


class Ending(Struct, frozen=True, gc=False):
    """How a job ended. `result` is None when it must be read from the store."""

    status: Status
    result: bytes | None
    error: JobError | None


class Waiter(Struct, gc=False, eq=False):
    """What the handles of one job share. Only leaves, so that a million of them cost the collector nothing."""

    owner: str
    id: str
    seen_hints: int = -1
    """How many hints had come when the job was certainly still to end; -1: nothing is known of it."""
    is_claimed_here: bool = False
    ending: Ending | None = None
    share: _Share | None = None
    """What a large result takes of the bytes that live handles may hold."""

    @property
    def key(self) -> JobKey:
        return JobKey(self.owner, self.id)


class Waiters(UsesStore):
    """The live handles and event streams of one manager.

    A job that was submitted here is remembered until it ends here, so that its handle gets the ending even if nobody
    waits yet; the oldest are forgotten in bulk. Whoever waits for a job that is not remembered looks it up.
    """

    def __init__(self, store: JobStore, clock: Clock, *, remembers: bool) -> None:
        self._store = store
        self._clock = clock
        self._remembers = remembers
        # By id alone, so that the collector need not look inside; of two owners' jobs with one id, one is remembered.
        self._submitted: dict[str, Waiter] = {}
        self._submitted_earlier: dict[str, Waiter] = {}
        self._awaited: dict[tuple[str, str], _Awaited] = {}
        self._watched: dict[JobKey, _Watched] = {}
        self._kept = _Kept()
        self._suspects: list[JobKey] = []
        self.on_ending: list[Callable[[], None]] = []
        """Called, soon, after jobs have ended here."""
        self._hints = 0
        self._vague_hints = 0
        """Hints that named no job: any of those waited for may have changed."""
        self._settled_hints = 0
        """How many of them had come when everything was looked at."""
        self._look = asyncio.Event()
        self._due_at = clock.monotonic() + POLL_SECONDS
        """When the rest is looked at, beside those that somebody has just begun to wait for."""
        self._rested_at = 0.0
        self._loop = asyncio.get_running_loop()

    def waiter(self, key: JobKey) -> Waiter:
        """Return the waiter that handles of this job share, or a new one."""
        return self._known(key) or Waiter(key.owner, key.id)

    def submitted(self, owner: str, job_id: str) -> Waiter:
        """Return the waiter of a job that is about to be inserted: until a hint comes, only we can have ended it."""
        waiter = Waiter(owner, job_id, self._hints)
        if not self._remembers:
            return waiter
        if len(self._submitted) >= SUBMITTED_KEPT:
            self._submitted_earlier, self._submitted = self._submitted, {}
        remembered = self._submitted.setdefault(job_id, waiter)
        return remembered if remembered.owner == owner else waiter

    def forget(self, waiter: Waiter) -> None:
        """Remember a job no longer: it has ended, or was not inserted."""
        if self._submitted.get(waiter.id) is waiter:
            del self._submitted[waiter.id]
        elif self._submitted_earlier.get(waiter.id) is waiter:
            del self._submitted_earlier[waiter.id]

    def alias(self, waiter: Waiter, key: JobKey) -> Waiter:
        """Return the waiter of `key`, which answers for the submission that made `waiter`."""
        if key == (waiter.owner, waiter.id):
            waiter.seen_hints = -1
            return waiter
        self.forget(waiter)
        return self.waiter(key)

    def claimed(self, keys: Iterable[JobKey]) -> None:
        """Note that this manager runs these jobs now."""
        for key in keys:
            waiter = self._known(key)
            if waiter is not None:
                waiter.is_claimed_here = True
            if self._watched:
                self.changed(key)

    def ended(self, key: JobKey, ending: Ending) -> None:
        """Hand an ending that has just been committed to whoever waits for it here."""
        waiter = self._known(key)
        if waiter is not None:
            if waiter.ending is None:
                waiter.ending = self._kept_part(waiter, ending)
            self.forget(waiter)
        if key in self._awaited:
            self._resolve(key, ending)
        if self._watched:
            self.changed(key)
        for tell in self.on_ending:
            tell()

    def changed(self, key: JobKey) -> None:
        """Wake the event streams of this job."""
        watched = self._watched.get(key)
        if watched is not None:
            watched.wake()

    async def wait(self, waiter: Waiter) -> Ending | None:
        """Return the job's ending, or None when the store does not know the job."""
        if waiter.ending is not None:
            return waiter.ending
        future: asyncio.Future[Ending | None] = self._loop.create_future()
        key = (waiter.owner, waiter.id)
        awaited = self._awaited.get(key)
        if awaited is None:
            self._awaited[key] = _Awaited(waiter, [future])
        else:
            awaited.futures.append(future)
        if not waiter.is_claimed_here and waiter.seen_hints != self._hints:
            self._suspects.append(waiter.key)
            self._look.set()
        try:
            return await future
        except BaseException:
            self._leave(key, future)
            raise

    def watch(self, key: JobKey, event: asyncio.Event) -> Callable[[], None]:
        """Set `event` at every change of the job, wherever it is made, until the returned function is called."""
        watched = self._watched.setdefault(key, _Watched(key))
        watched.events.add(event)

        def unwatch() -> None:
            watched.events.discard(event)
            if not watched.events and self._watched.get(key) is watched:
                del self._watched[key]

        return unwatch

    def requeued(self, key: JobKey) -> None:
        """Note that the job no longer runs here, and has not ended."""
        waiter = self._known(key)
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
        for tell in self.on_ending:
            tell()

    async def follow(self, on_hint: Callable[[Sequence[JobKey] | None], None]) -> None:
        """Pass on the store's hints of changes made elsewhere, for as long as the store is open."""
        async for keys in self._store.changes():
            self._hints += 1
            on_hint(keys)
            if keys is None:
                self._vague_hints += 1
                self._due_at = min(self._due_at, self._rested_at)
                self._look.set()
            else:
                for key in keys:
                    self.changed(key)
                await self._look_up([key for key in keys if key in self._awaited])

    async def poll(self) -> None:
        """Look up what somebody began to wait for, in one call; all the rest after a hint that names no job.

        A hint may be lost: now and then some of the rest are looked up without one.
        """
        while True:
            if not self._suspects and not self._is_due:
                await self._until_due()
            try:
                await self._look_up(self._next_suspects())
                if self._is_due:
                    await self._look_at_the_rest()
            except StoreError as error:
                logger.warning("could not look for endings: %s", error)

    @property
    def _is_due(self) -> bool:
        return self._clock.monotonic() >= self._due_at

    async def _until_due(self) -> None:
        """Wait until there is a suspect, or until the rest is due."""
        self._look.clear()
        timer = self._clock.call_later(self._due_at - self._clock.monotonic(), self._look.set)
        try:
            await self._look.wait()
        finally:
            timer.cancel()

    async def _look_at_the_rest(self) -> None:
        began, hints = self._clock.monotonic(), self._vague_hints
        self._due_at = began + POLL_SECONDS
        is_everything = hints != self._settled_hints
        awaited, watched = self._next_awaited(everything=is_everything), self._next_watched(everything=is_everything)
        for start in range(0, max(len(awaited), len(watched)), LOOK_UP):
            await self._look_up([*self._next_suspects(), *awaited[start : start + LOOK_UP]])
            await self._look_at(watched[start : start + LOOK_UP])
        self._settled_hints = hints
        if is_everything:
            now = self._clock.monotonic()
            self._rested_at = now + REST * (now - began)
            self._due_at = self._rested_at if hints != self._vague_hints else now + POLL_SECONDS

    def _next_suspects(self) -> Sequence[JobKey]:
        suspects, self._suspects = self._suspects[:LOOK_UP], self._suspects[LOOK_UP:]
        return suspects

    def _next_awaited(self, *, everything: bool) -> Sequence[JobKey]:
        """Take the next jobs that are waited for and do not run here, in turn, or all of them."""
        waiters = [awaited.waiter for awaited in self._awaited.values()]
        chosen = [waiter.key for waiter in waiters if not waiter.is_claimed_here]
        if everything or len(chosen) <= LOOK_UP:
            return chosen
        for key in (chosen := chosen[:LOOK_UP]):
            self._awaited[key] = self._awaited.pop(key)
        return chosen

    async def _look_up(self, keys: Sequence[JobKey]) -> None:
        if not keys:
            return
        for key, job in zip(keys, await self._store.get(keys), strict=True):
            if job is None:
                self._resolve(key, None)
            elif job.is_terminal:
                self.ended(key, ending_of(job))

    def _next_watched(self, *, everything: bool) -> Sequence[_Watched]:
        """Take the next jobs whose event streams somebody follows, in turn, or all of them."""
        chosen = list(self._watched.values())
        if everything or len(chosen) <= LOOK_UP:
            return chosen
        for watched in (chosen := chosen[:LOOK_UP]):
            self._watched[watched.key] = self._watched.pop(watched.key)
        return chosen

    async def _look_at(self, several: Sequence[_Watched]) -> None:
        """Wake the event streams of those that have changed since the last look, or are gone; one call for all."""
        if not several:
            return
        jobs = await self._store.get([watched.key for watched in several], with_result=False)
        for watched, job in zip(several, jobs, strict=True):
            revision = -1 if job is None else job.revision
            if revision != watched.revision:
                watched.revision = revision
                watched.wake()

    def _known(self, key: JobKey) -> Waiter | None:
        owner, job_id = key
        waiter = self._submitted.get(job_id) or self._submitted_earlier.get(job_id)
        if waiter is not None and waiter.owner == owner:
            return waiter
        awaited = self._awaited.get(key)
        return None if awaited is None else awaited.waiter

    def _resolve(self, key: JobKey, ending: Ending | None) -> None:
        awaited = self._awaited.pop(key, None)
        if awaited is not None:
            for future in awaited.futures:
                if not future.done():
                    future.set_result(ending)

    def _leave(self, key: tuple[str, str], future: asyncio.Future[Ending | None]) -> None:
        """Forget one who waits no longer."""
        awaited = self._awaited.get(key)
        if awaited is not None and future in awaited.futures:
            awaited.futures.remove(future)
            if not awaited.futures:
                del self._awaited[key]

    def _kept_part(self, waiter: Waiter, ending: Ending) -> Ending:
        """Return the ending, without its result where that would be too much to hold."""
        if ending.result is None or (size := len(ending.result)) <= SMALL_RESULT_BYTES:
            return ending
        if self._kept.size + size > KEPT_RESULT_BYTES:
            return Ending(ending.status, None, ending.error)
        waiter.share = _Share(self._kept, size)
        return ending


class _Awaited(Struct, eq=False):
    """A job that somebody waits for, and a future for each of them."""

    waiter: Waiter
    futures: list[asyncio.Future[Ending | None]]


class _Watched(Struct, eq=False):
    """A job whose events somebody follows."""

    key: JobKey
    revision: int = 0
    """As the store last told it; -1: the job is gone."""
    events: set[asyncio.Event] = msgspec.field(default_factory=set[asyncio.Event])

    def wake(self) -> None:
        for event in self.events:
            event.set()


class _Kept:
    """How many bytes of large results live handles hold."""

    __slots__ = ("size",)

    def __init__(self) -> None:
        self.size: int = 0


class _Share:
    """Counts one large result until the last handle of its job is gone."""

    __slots__ = ("_kept", "_size")

    def __init__(self, kept: _Kept, size: int) -> None:
        self._kept = kept
        self._size = size
        kept.size += size

    def __del__(self) -> None:
        self._kept.size -= self._size


def ending_of(job: Job) -> Ending:
    """Return how a terminal job ended."""
    return Ending(job.status, job.result, job.error)
