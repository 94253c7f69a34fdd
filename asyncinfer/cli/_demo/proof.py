"""The proof: what the store alone says about the jobs, read when everything else has been closed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct

from asyncinfer import Attempt, Job, JobManager
from asyncinfer.cli._demo.model import FileKind, identify
from asyncinfer.cli._demo.over_http import VISITOR, Asked
from asyncinfer.cli._demo.webhooks import Told
from asyncinfer.errors import AsyncinferError

READ_AT_ONCE = 100
"""Jobs read side by side."""


class Repeat(Struct, frozen=True):
    """An attempt that was lost, and the one that took its place."""

    job_id: str
    lost: Attempt
    next: Attempt | None


class Evidence(Struct, frozen=True):
    """What was read of one job."""

    job_id: str
    owner: str
    status: str
    attempts: Sequence[Attempt]
    kind: FileKind | None
    why: str = ""
    """What is wrong with the job, or empty."""

    @property
    def has_one_success(self) -> bool:
        """It succeeded, by its last attempt and no other, and its result can be read."""
        outcomes = [attempt.outcome for attempt in self.attempts]
        is_once = outcomes.count("succeeded") == 1 and outcomes[-1] == "succeeded"
        return self.status == "succeeded" and is_once and self.kind is not None

    @property
    def repeats(self) -> Sequence[Repeat]:
        followers: Sequence[Attempt | None] = [*self.attempts[1:], None]
        return [
            Repeat(self.job_id, attempt, follower)
            for attempt, follower in zip(self.attempts, followers, strict=False)
            if attempt.outcome != "succeeded"
        ]


class Proof(Struct, frozen=True):
    """What is claimed, and whether it holds."""

    submitted: int
    found: int
    succeeded_once: int
    lost: Sequence[str]
    """Submitted, and not in the store."""
    unexpected: Sequence[str]
    """In the store, and not submitted."""
    wrong: Sequence[Evidence]
    """Jobs that did not succeed exactly once."""
    repeats: Sequence[Repeat]
    is_interrupted: bool
    """The killed process was running something; otherwise its end proves nothing."""
    not_repeated: Sequence[str]
    """Jobs that the killed process held and whose attempt was not followed by another."""
    kinds: Mapping[str, int]
    """Files by type, from the stored results."""
    by_worker: Mapping[str, int]
    """Attempts that succeeded, by worker."""
    asked: Asked
    """What was asked over HTTP."""
    is_answered: bool
    """The store says of that job what HTTP said: it succeeded once, with the same result."""
    told: Told
    """What came by webhooks."""
    untold: Sequence[str]
    """Jobs that their receiver was not told of by one webhook, with the result that the store has."""

    @property
    def holds(self) -> bool:
        """Every submitted job is there, succeeded exactly once and was told of; what was interrupted was repeated."""
        is_complete = not (self.lost or self.unexpected or self.wrong or self.not_repeated)
        return is_complete and self.is_interrupted and self.is_answered and self.is_told

    @property
    def is_told(self) -> bool:
        """Whoever was to be told by webhooks was, of every job, and by nobody else."""
        told = self.told
        return not (self.untold or told.refused or told.unsettled or told.why)


async def prove(url: str, submitted: Collection[str], held: Collection[str], asked: Asked, told: Told) -> Proof:
    """Read every job of the store with its attempts and result.

    `submitted` are the ids that submits returned, `held` those whose attempt the killed process was running, `asked`
    is what HTTP said, `told` what came by webhooks. Other jobs of visitors prove nothing.
    """
    evidence: list[Evidence] = []
    async with JobManager(url, models=[identify], run_jobs=False) as manager:
        batch: list[Job] = []
        async for job in manager.find_all():
            batch.append(job)
            if len(batch) == READ_AT_ONCE:
                evidence += await asyncio.gather(*(_read(manager, one) for one in batch))
                batch = []
        evidence += await asyncio.gather(*(_read(manager, one) for one in batch))
    return judge(evidence, submitted, held, asked, told)


def judge(
    everything: Sequence[Evidence], submitted: Collection[str], held: Collection[str], asked: Asked, told: Told
) -> Proof:
    """Say what the evidence proves."""
    evidence = [one for one in everything if one.owner != VISITOR]
    ids = {one.job_id for one in evidence}
    repeats = [repeat for one in evidence for repeat in one.repeats]
    repeated = {repeat.job_id for repeat in repeats if repeat.next is not None}
    return Proof(
        submitted=len(submitted),
        found=len(evidence),
        succeeded_once=sum(one.has_one_success for one in evidence),
        lost=sorted(set(submitted) - ids),
        unexpected=sorted(ids - set(submitted)),
        wrong=[one for one in evidence if not one.has_one_success],
        repeats=repeats,
        is_interrupted=bool(held),
        not_repeated=sorted(set(held) - repeated),
        kinds=Counter(one.kind.label for one in evidence if one.kind is not None),
        by_worker=Counter(
            attempt.worker for one in evidence for attempt in one.attempts if attempt.outcome == "succeeded"
        ),
        asked=asked,
        is_answered=any(one.job_id == asked.job_id and _says(one, asked.label) for one in everything),
        told=told,
        untold=[one.job_id for one in evidence if not _is_told(one, told)],
    )


def _says(evidence: Evidence, label: str) -> bool:
    return evidence.has_one_success and evidence.kind is not None and evidence.kind.label == label


def _is_told(evidence: Evidence, told: Told) -> bool:
    has_one_id = len(told.ids.get(evidence.job_id, ())) == 1
    return has_one_id and evidence.kind is not None and told.labels[evidence.job_id] == evidence.kind.label


async def _read(manager: JobManager, job: Job) -> Evidence:
    own = manager.scoped(job.owner) if job.owner else manager
    attempts = await own.attempts(job.id)
    if job.status != "succeeded":
        why = job.status if job.error is None else f"{job.status} ({job.error.code}: {job.error.message})"
        return Evidence(job.id, job.owner, job.status, attempts, None, why)
    try:
        kind = await own.handle(job.id, identify).result()
    except AsyncinferError as error:
        return Evidence(job.id, job.owner, job.status, attempts, None, str(error))
    outcomes = ", ".join(str(attempt.outcome) for attempt in attempts)
    return Evidence(job.id, job.owner, job.status, attempts, kind, f"its attempts: {outcomes or 'none'}")
