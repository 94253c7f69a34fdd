"""The commands of submitters and owners."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from asyncinfer.abc import JobFilter, JobKey, Limits, NewJob, Subscription
from asyncinfer.testing.histories.comparable import in_any_order
from asyncinfer.testing.histories.player import Player, chance, recent, some, some_bytes

_SUBSCRIBERS = (
    Subscription("https://one.example.com/"),
    Subscription("https://two.example.com/", ("job.started", "job.failed")),
)


async def insert(player: Player, random: Random) -> object:
    jobs = [_submission(player, random) for _ in range(random.randint(1, 3))]
    player.jobs += jobs
    answers = await player.store.insert(jobs, _limits(random))
    for job, answer in zip(jobs, answers, strict=True):
        if answer.kind == "inserted":
            player.forget_attempts(job.job_key)
    return answers


async def request_cancel(player: Player, random: Random) -> object:
    if chance(random, 0.2):
        answers = await player.store.request_cancel(
            owner=random.choice(player.owners), matching=_filter(player, random)
        )
        return in_any_order(answers)
    return await player.store.request_cancel(_keys(player, random))


async def delete(player: Player, random: Random) -> object:
    if chance(random, 0.2):
        owner, matching = random.choice(player.owners), _filter(player, random)
        return in_any_order(await player.store.delete(owner=owner, matching=matching))
    return await player.store.delete(_keys(player, random))


async def purge(player: Player, random: Random) -> object:
    return in_any_order(await player.store.purge(random.choice(player.owners), random.choice(player.queues)))


async def pause(player: Player, random: Random) -> None:
    await player.store.pause(random.choice(player.queues))


async def resume(player: Player, random: Random) -> None:
    await player.store.resume(random.choice(player.queues))


def _submission(player: Player, random: Random) -> NewJob:
    earlier = recent(random, player.jobs)
    if earlier is not None and chance(random, 0.12):
        return earlier
    if earlier is not None and chance(random, 0.05):
        return replace(earlier, fingerprint=b"another")
    now, number = player.clock.now(), len(player.jobs)
    job = NewJob(
        owner=random.choice(player.owners),
        # Ids of one command are drawn before any is kept, so the number alone is not enough.
        id=f"job-{number:04d}-{random.getrandbits(24):06x}",
        model=random.choice(player.models),
        queue=random.choice(player.queues),
        input=some_bytes(random),
        fingerprint=random.choice((b"f", b"g")),
        priority=random.choice((0, 5, 5, 5, 9, 10)) if chance(random, 0.5) else 5,
        batch_key=random.choice(("", "k")),
        cost=random.randint(1, 3),
        crash_budget=random.randint(1, 3),
        retention_result=random.choice((0, 5_000, 86_400_000)),
        retention_record=random.choice((0, 15_000, 604_800_000)),
        subscriptions=_SUBSCRIBERS[: random.randint(1, 2)] if chance(random, 0.35) else (),
        labels={"run": random.choice("12")} if chance(random, 0.3) else {},
    )
    return _bounded_in_time(_with_a_name(job, random, now), random, now)


def _with_a_name(job: NewJob, random: Random, now: int) -> NewJob:
    if chance(random, 0.2):
        job = replace(job, key=random.choice(("k1", "k2", "k3")), key_until=now + random.choice((1_000, 20_000)))
    if chance(random, 0.1):
        job = replace(job, dedup=random.choice((b"d1", b"d2")), dedup_until=now + random.choice((5_000, 10**9)))
    return job


def _bounded_in_time(job: NewJob, random: Random, now: int) -> NewJob:
    if chance(random, 0.2):
        job = replace(job, not_before=now + random.choice((-1, 1, 1_000, 10_000)))
    if chance(random, 0.2):
        code = random.choice(("queue_timeout", "deadline"))
        job = replace(job, expire_at=now + random.choice((1, 1_000, 10_000)), expire_code=code)
    if chance(random, 0.2):
        job = replace(job, time_limit=random.choice((1, 10_000)), deadline=now + 30_000)
    return job


def _limits(random: Random) -> Limits:
    if chance(random, 0.7):
        return Limits()
    return Limits(
        queued_jobs=random.choice((0, 2, 5, 10_000)),
        queued_bytes=random.choice((1, 20, 10**9)),
        owner_queued_jobs=random.choice((None, 1, 3)),
    )


def _keys(player: Player, random: Random) -> list[JobKey]:
    return [job.job_key for job in some(random, player.jobs, 3)] or [JobKey("nobody", "nothing")]


def _filter(player: Player, random: Random) -> JobFilter:
    return random.choice(
        (
            JobFilter(status=("queued",)),
            JobFilter(status=("succeeded", "failed")),
            JobFilter(model=random.choice(player.models)),
            JobFilter(queue=random.choice(player.queues), labels={"run": "1"}),
            JobFilter(labels={"run": "2"}),
            JobFilter(created_after=player.clock.now() - 2_000),
            JobFilter(),
        )
    )
