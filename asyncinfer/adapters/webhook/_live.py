"""Live events: `job.started`, `job.progress` and `job.output`, told while an attempt runs in the manager beside it.

Each is posted once, straight from here: never stored, never sent again, and in slots of its own, so that no job and no
delivery waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from asyncinfer import Event, Job, JobManager, ResetEvent, StatusEvent, Subscription
from asyncinfer._job import LIVE_EVENTS
from asyncinfer._shown_target import shown_target
from asyncinfer.abc import Claim, Clock, Delivery, Endpoint
from asyncinfer.adapters._job_answer import JobAnswers
from asyncinfer.adapters.webhook._attempts import Attempts
from asyncinfer.adapters.webhook._cloud_events import body_in
from asyncinfer.adapters.webhook._envelope import body_of, message_id
from asyncinfer.adapters.webhook._live_lanes import PAUSE_SECONDS, Lane, LaneKey, Lanes, is_open, note
from asyncinfer.adapters.webhook._live_news import News, Subject, as_started, output_body, progress_body
from asyncinfer.adapters.webhook._registered import state_of
from asyncinfer.errors import StoreError

COALESCED_SECONDS = 0.5
"""Progress and output are collected for so long before they are posted together."""
POST_SECONDS = 5.0
"""The longest that a post may take: by then there is newer news."""
LINGER_SECONDS = 10.0
"""After the end of an attempt: what has not been posted by then is dropped."""
RETRY_SECONDS = 1.0
logger = logging.getLogger("asyncinfer.webhook")


class LiveEvents:
    """Follows the attempts of one manager that somebody wants to hear of while they run."""

    def __init__(self, manager: JobManager, answers: JobAnswers, attempts: Attempts) -> None:
        self._manager = manager
        self._outbox = manager.outbox
        self._clock = manager.clock
        self._answers = answers
        self._attempts = attempts
        self._lanes = Lanes()
        self._new: list[_Followed] = []
        self._begun = asyncio.Event()

    def begin(self, claims: Sequence[Claim]) -> None:
        """Follow these attempts, but for receivers of whom there are too many to be told already."""
        for claim in claims:
            lines = [line for one in _by_target(claim.live_subscriptions) if (line := self._line(claim, one))]
            if lines:
                self._new.append(_Followed(claim, lines))
        self._begun.set()

    async def run(self) -> None:
        """Follow what begins, until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                await self._begun.wait()
                self._begun.clear()
                new, self._new = self._new, []
                jobs = await self._records([followed.claim for followed in new])
                for followed, job in zip(new, jobs, strict=True):
                    group.create_task(self._follow(followed, job), name=f"asyncinfer-live-{followed.claim.id}")

    async def _records(self, claims: Sequence[Claim]) -> Sequence[Job | None]:
        try:
            return await self._manager.records([claim.job_key for claim in claims], with_result=False)
        except Exception as error:  # noqa: BLE001  a manager that has just closed, too: the sender finds that out
            logger.warning("%d attempts are not told of while they run: %s", len(claims), type(error).__qualname__)
            return [None] * len(claims)

    def _line(self, claim: Claim, subscription: Subscription) -> _Line | None:
        key = (claim.owner, shown_target(subscription.target) if "://" in subscription.target else subscription.target)
        lane = self._lanes.enter(key)
        if lane is None:
            logger.info("job %s is not told of while it runs: %s has too much to be told", claim.id, key[1])
            return None
        return _Line(subscription, key, lane)

    async def _follow(self, followed: _Followed, job: Job | None) -> None:
        claim, lines = followed.claim, followed.lines
        try:
            if job is not None:
                await self._tell_all(claim, job, lines)
        except Exception as error:  # noqa: BLE001  the others go on
            # Without its text or its trace, which may hold what nobody should read.
            logger.error("job %s cannot be told of while it runs: %s", claim.id, type(error).__qualname__)
        finally:
            for line in lines:
                self._lanes.leave(line.key, line.lane)

    async def _tell_all(self, claim: Claim, job: Job, lines: Sequence[_Line]) -> None:
        told = self._answers.job(as_started(job, claim), claim.claimed_at)
        subject = Subject(claim.id, claim.model, claim.attempt, told.links)
        started = body_of("job.started", claim.claimed_at, told)
        async with asyncio.TaskGroup() as group:
            telling = [group.create_task(self._tell(claim, subject, started, line)) for line in lines]
            if any(line.is_following for line in lines):
                await self._read(claim, lines)
            for line in lines:
                line.end()
            _, late = await asyncio.wait(telling, timeout=LINGER_SECONDS)
            for task in late:
                logger.info("the last live events of job %s are dropped: a receiver is slow", claim.id)
                task.cancel()

    async def _read(self, claim: Claim, lines: Sequence[_Line]) -> None:
        """Hand on what happens in the attempt, until it has ended."""
        handle = self._manager.scoped(claim.owner).handle(claim.id)
        after = claim.revision
        while True:
            try:
                async with aclosing(handle.event_batches(after)) as batches:
                    async for batch in batches:
                        for event in batch:
                            if event.attempt != claim.attempt or isinstance(event, (StatusEvent, ResetEvent)):
                                return
                            after = event.id
                            for line in lines:
                                line.add(event)
                return
            except StoreError as error:
                logger.warning("the events of job %s cannot be read, trying again: %s", claim.id, error)
                await self._clock.sleep(RETRY_SECONDS)

    async def _tell(self, claim: Claim, subject: Subject, started: bytes, line: _Line) -> None:
        if "job.started" in line.subscription.events:
            async with self._lanes.slot(line.lane):
                await self._post(claim, line, "job.started", claim.claimed_at, claim.revision, started)
        while await line.collect(self._clock):
            async with self._lanes.slot(line.lane):
                await self._post_news(claim, subject, line)

    async def _post_news(self, claim: Claim, subject: Subject, line: _Line) -> None:
        """Post what has come together by now, the time of waiting for the turn included."""
        news = line.take()
        if (progress := news.progress) is not None:
            body = progress_body(subject, progress)
            await self._post(claim, line, "job.progress", progress.at, progress.id, body)
        if (output := news.output) is not None:
            body = await output_body(subject, output)
            await self._post(claim, line, "job.output", output.at, output.last, body)

    async def _post(self, claim: Claim, line: _Line, event: str, at: int, revision: int, body: bytes) -> None:
        if not is_open(line.lane, self._clock.monotonic()):
            return
        kind: str | None = None
        try:
            async with asyncio.timeout(POST_SECONDS):
                kind = await self._sent(claim, line.subscription, event, at, revision, body)
        except TimeoutError:
            kind = "timeout"
        except StoreError as error:
            logger.warning("%s of job %s is not told, the store does not answer: %s", event, claim.id, error)
        except Exception as error:  # noqa: BLE001  a transport of somebody's own, an endpoint that cannot be read: the other receivers go on
            logger.error("%s of job %s could not be posted: %s", event, claim.id, type(error).__qualname__)
        if kind is None:
            return
        logger.debug("%s of job %s to %s: %s", event, claim.id, line.key[1], kind)
        if note(line.lane, self._clock.monotonic(), is_delivered=kind == "delivered"):
            logger.warning("%s fails (%s), and is told no live events for %g s", line.key[1], kind, PAUSE_SECONDS)

    async def _sent(
        self, claim: Claim, subscription: Subscription, event: str, at: int, revision: int, body: bytes
    ) -> str | None:
        """Send it, and return how that went; None where the endpoint, as it is now, is not to be told."""
        endpoint: Endpoint | None = None
        if "://" not in subscription.target:
            found = await self._outbox.endpoints(claim.owner, [subscription.target])
            endpoint = found[0] if found else None
            if endpoint is None or not endpoint.is_enabled or event not in endpoint.events:
                return None
        name = message_id(at, claim.owner, claim.id, str(revision), event, subscription.target)
        if endpoint is not None:
            state = state_of(endpoint)
            body = body_in(state.format, state.source, name, body)
        delivery = Delivery(
            id=name,
            owner=claim.owner,
            job_id=claim.id,
            target=subscription.target if endpoint is None else endpoint.target,
            event=event,
            body=body,
            status="pending",
            attempts=0,
            due_at=at,
            created_at=at,
            endpoint=None if endpoint is None else endpoint.id,
            secret=subscription.secret if endpoint is None else "",
        )
        return (await self._attempts.answered(delivery, endpoint)).attempt.kind


class _Line(Struct, eq=False):
    """One attempt's news for one target. They are posted one after another: a slow receiver only gets more at once."""

    subscription: Subscription
    key: LaneKey
    lane: Lane
    news: News = msgspec.field(default_factory=News)
    has_ended: bool = False
    has_news: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    is_due: asyncio.Event = msgspec.field(default_factory=asyncio.Event)

    @property
    def is_following(self) -> bool:
        return any(event != "job.started" for event in LIVE_EVENTS if event in self.subscription.events)

    def add(self, event: Event) -> None:
        self.news.add(event, self.subscription.events)
        if not self.news.is_empty:
            self.has_news.set()

    def end(self) -> None:
        self.has_ended = True
        self.has_news.set()
        self.is_due.set()

    async def collect(self, clock: Clock) -> bool:
        """Wait until there is something to post, and let more come together; False once there never will be."""
        await self.has_news.wait()
        timer = clock.call_later(COALESCED_SECONDS, self.is_due.set)
        try:
            await self.is_due.wait()
        finally:
            timer.cancel()
        return not self.news.is_empty

    def take(self) -> News:
        news, self.news = self.news, News()
        if not self.has_ended:
            self.has_news.clear()
            self.is_due.clear()
        return news


class _Followed(Struct, frozen=True):
    claim: Claim
    lines: Sequence[_Line]


def _by_target(subscriptions: Sequence[Subscription]) -> Sequence[Subscription]:
    """Return one for each target: whoever is named twice is told once."""
    merged: dict[str, Subscription] = {}
    for one in subscriptions:
        known = merged.get(one.target)
        merged[one.target] = one if known is None else replace(known, events=(*known.events, *one.events))
    return list(merged.values())
