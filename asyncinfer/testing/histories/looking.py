"""The commands that only look, and the whole view that two stores are compared by."""

from __future__ import annotations

from random import Random

from asyncinfer.abc import DeliveryFilter, Job, JobFilter
from asyncinfer.testing.histories.comparable import comparable, in_any_order
from asyncinfer.testing.histories.player import Player, recent


async def find(player: Player, random: Random) -> object:
    """Read every page of a listing, forward and back."""
    owner = random.choice(player.owners)
    matching = random.choice((JobFilter(), JobFilter(status=("queued", "running")), JobFilter(model=player.models[0])))
    limit = random.randint(1, 5)
    pages = [await player.store.find(owner, matching, limit=limit)]
    while pages[-1].next_cursor is not None:
        pages.append(await player.store.find(owner, matching, after=pages[-1].next_cursor, limit=limit))
    back = pages[-1]
    returned: list[list[str]] = []
    while back.prev_cursor is not None:
        back = await player.store.find(owner, matching, before=back.prev_cursor, limit=limit)
        returned.append([job.id for job in back.jobs])
    return [[comparable(job) for job in page.jobs] for page in pages] + [returned]


async def read_events(player: Player, random: Random) -> object:
    job = recent(random, player.jobs)
    if job is None:
        return None
    return await player.store.events(job.job_key, random.randint(0, 6), random.randint(1, 5))


async def visible_jobs(player: Player) -> list[Job | None]:
    """Return what stands of every job of the history."""
    return list(await player.store.get(player.keys))


async def whole_view(player: Player) -> dict[str, object]:
    """Return everything else that the contract shows of this history."""
    store, keys = player.store, player.keys
    jobs = dict(zip(keys, await store.get(keys), strict=True))
    forgotten = [key for key in keys if jobs[key] is None]
    begun = [key for key, job in jobs.items() if job is not None and job.attempt]
    notified = [key for key, job in jobs.items() if job is not None and job.has_subscriptions]
    return {
        "submissions": list(await store.submissions(keys)),
        "tombstones": [await store.is_tombstone(key) for key in forgotten],
        "events": [await store.events(key, 0, 1_000) for key in keys if jobs[key] is not None],
        "attempts": [list(await store.attempts(key)) for key in begun],
        "positions": list(await store.position(keys)),
        "leases": list(await store.leases(None, 1_000)),
        "counts": {owner: in_any_order(await store.counts(owner)) for owner in player.owners},
        "deliveries": await store.outbox.deliveries(None, DeliveryFilter(), limit=1_000),
        "deliveries of jobs": [in_any_order(await store.outbox.of_job(key)) for key in notified],
        "logs": [await store.outbox.log(owner, name) for owner in player.owners for name in player.deliveries],
        "endpoints": [in_any_order(await store.outbox.endpoints(owner)) for owner in player.owners],
    }
