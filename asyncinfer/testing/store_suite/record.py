"""Record: what a running attempt tells, fenced as its ending is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from asyncinfer.abc import Claim, JobStore, Limits, OutputEvent, Progress, ProgressEvent, Record
from asyncinfer.testing.builders import failure, lease_of, move_id, new_jobs, retry, success
from asyncinfer.testing.fake_clock import FakeClock
from asyncinfer.testing.steps import (
    LIMITS,
    accept,
    claim,
    claim_one,
    end,
    events_of,
    get_one,
    last_status_event,
    rescue_one,
    start,
)
from asyncinfer.testing.store_suite.store_case import StoreCase


def record(
    claimed: Claim,
    *,
    progress: Progress | None = None,
    output: tuple[bytes, ...] = (),
    checkpoint: bytes | None = None,
) -> Record:
    """Return what the attempt tells."""
    return Record(claimed.owner, claimed.id, claimed.attempt, progress, output, checkpoint, claimed.ref)


async def tell(store: JobStore, what: Record, limits: Limits = LIMITS) -> int | None:
    """Record one item and return its answer."""
    (revision,) = await store.record([what], limits)
    return revision


class ProgressTests(StoreCase):
    async def test_progress_is_one_revision_and_one_event(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)
        await clock.advance(1)
        half = Progress(fraction=0.5, message="half")

        assert await tell(store, record(claimed, progress=half)) == 3

        assert (await get_one(store, claimed.job_key)).progress == half
        assert (await events_of(store, claimed.job_key))[-1] == ProgressEvent(3, 1, clock.now(), half)

    async def test_only_the_latest_progress_is_kept(self, store: JobStore) -> None:
        claimed = await start(store)

        for current in range(5):
            await tell(store, record(claimed, progress=Progress(current=current, total=5)))

        events = [event for event in await events_of(store, claimed.job_key) if isinstance(event, ProgressEvent)]
        assert [(event.id, event.progress.current) for event in events] == [(7, 4)]
        assert (await get_one(store, claimed.job_key)).revision == 7

    async def test_a_new_attempts_progress_replaces_the_earlier_ones(self, store: JobStore) -> None:
        claimed = await start(store)
        await tell(store, record(claimed, progress=Progress(fraction=0.9)))
        await end(store, retry(claimed))
        again = await claim_one(store)

        await tell(store, record(again, progress=Progress(fraction=0.1)))

        events = [event for event in await events_of(store, claimed.job_key) if isinstance(event, ProgressEvent)]
        assert [(event.attempt, event.progress.fraction) for event in events] == [(2, 0.1)]


class OutputTests(StoreCase):
    async def test_each_value_is_an_event_with_a_revision_of_its_own(self, store: JobStore, clock: FakeClock) -> None:
        claimed = await start(store)

        assert await tell(store, record(claimed, output=(b"a", b"", b"\x00c"))) == 5

        events = [event for event in await events_of(store, claimed.job_key) if isinstance(event, OutputEvent)]
        assert events == [
            OutputEvent(3, 1, clock.now(), b"a"),
            OutputEvent(4, 1, clock.now(), b""),
            OutputEvent(5, 1, clock.now(), b"\x00c"),
        ]

    async def test_progress_and_output_of_one_record_are_all_counted(self, store: JobStore) -> None:
        claimed = await start(store)

        revision = await tell(store, record(claimed, progress=Progress(fraction=0.5), output=(b"a", b"b")))

        assert revision == 5
        events = (await events_of(store, claimed.job_key))[2:]
        assert [event.id for event in events] == [3, 4, 5]

    async def test_output_is_there_after_the_end_and_in_order(self, store: JobStore) -> None:
        claimed = await start(store)
        await tell(store, record(claimed, output=(b"a",)))
        await tell(store, record(claimed, output=(b"b", b"c")))

        await end(store, success(claimed))

        events = [event for event in await events_of(store, claimed.job_key) if isinstance(event, OutputEvent)]
        assert [event.data for event in events] == [b"a", b"b", b"c"]
        assert (await last_status_event(store, claimed.job_key)).id == 6

    async def test_two_records_of_one_job_in_one_call_are_both_written(self, store: JobStore) -> None:
        claimed = await start(store)

        revisions = await store.record([record(claimed, output=(b"a",)), record(claimed, output=(b"b",))], LIMITS)

        assert list(revisions) == [3, 4]

    async def test_the_oldest_output_leaves_at_the_bound(self, store: JobStore) -> None:
        claimed = await start(store)
        limits = Limits(events_per_job=3)

        for n in range(5):
            await tell(store, record(claimed, output=(b"%d" % n,)), limits)

        page = await store.events(claimed.job_key, 0)
        assert [event.data for event in page.events if isinstance(event, OutputEvent)] == [b"2", b"3", b"4"]

    async def test_one_record_beyond_the_bound_keeps_its_newest(self, store: JobStore) -> None:
        claimed = await start(store)

        await tell(store, record(claimed, output=tuple(b"%d" % n for n in range(10))), Limits(events_per_job=3))

        page = await store.events(claimed.job_key, 0)
        assert [event.data for event in page.events if isinstance(event, OutputEvent)] == [b"7", b"8", b"9"]

    async def test_a_reader_is_told_of_output_that_it_missed(self, store: JobStore) -> None:
        claimed = await start(store)
        await tell(store, record(claimed, output=tuple(b"%d" % n for n in range(10))), Limits(events_per_job=3))

        gaps = [(await store.events(claimed.job_key, after)).has_gap for after in (0, 3, 9, 10, 12)]

        # Output 3 to 9 has left; whoever has read up to 9 misses nothing.
        assert gaps == [True, True, False, False, False]

    async def test_earlier_attempts_output_stays_readable(self, store: JobStore) -> None:
        claimed = await start(store)
        await tell(store, record(claimed, output=(b"first",)))
        await end(store, retry(claimed))

        await tell(store, record(await claim_one(store), output=(b"second",)))

        events = [event for event in await events_of(store, claimed.job_key) if isinstance(event, OutputEvent)]
        assert [(event.attempt, event.data) for event in events] == [(1, b"first"), (2, b"second")]


class CheckpointTests(StoreCase):
    async def test_a_checkpoint_changes_no_revision(self, store: JobStore) -> None:
        claimed = await start(store)

        assert await tell(store, record(claimed, checkpoint=b"state")) == 2

        assert (await get_one(store, claimed.job_key)).revision == 2

    @pytest.mark.parametrize("state", [b"", b"\x00", b"x" * 5_000])
    async def test_the_next_attempt_is_handed_the_newest_checkpoint(self, store: JobStore, state: bytes) -> None:
        claimed = await start(store)
        await tell(store, record(claimed, checkpoint=b"older"))
        await tell(store, record(claimed, checkpoint=state))
        await rescue_one(store, claimed.job_key)

        assert (await claim_one(store)).checkpoint == state

    async def test_a_checkpoint_outlives_attempts_that_save_none(self, store: JobStore) -> None:
        claimed = await start(store)
        await tell(store, record(claimed, checkpoint=b"state"))
        await store.give_back([lease_of(claimed)], move_id())
        await end(store, retry(await claim_one(store)))

        assert (await claim_one(store)).checkpoint == b"state"


class RecordMoveIdTests(StoreCase):
    async def test_the_same_write_again_is_answered_again_and_changes_nothing(self, store: JobStore) -> None:
        claimed = await start(store)
        write = replace(record(claimed, output=(b"a",)), move_id=move_id())
        await tell(store, write)

        assert await tell(store, write) == 3

        assert (await get_one(store, claimed.job_key)).revision == 3

    async def test_the_same_write_twice_in_one_call_is_written_once(self, store: JobStore) -> None:
        claimed = await start(store)
        write = replace(record(claimed, output=(b"a",)), move_id=move_id())

        assert list(await store.record([write, write], LIMITS)) == [3, 3]

    async def test_writes_without_a_name_are_each_written(self, store: JobStore) -> None:
        claimed = await start(store)
        write = record(claimed, output=(b"a",))

        assert [await tell(store, write), await tell(store, write)] == [3, 4]


class RecordFenceTests(StoreCase):
    async def test_an_earlier_attempt_tells_nothing(self, store: JobStore) -> None:
        stale = await start(store)
        await rescue_one(store, stale.job_key)
        current = await claim_one(store)

        told = await tell(store, record(stale, progress=Progress(0.9), output=(b"stale",), checkpoint=b"stale"))

        assert told is None
        job = await get_one(store, stale.job_key)
        assert (job.revision, job.progress) == (4, None)
        await end(store, retry(current))
        assert (await claim_one(store)).checkpoint is None

    async def test_an_ended_attempt_tells_nothing(self, store: JobStore) -> None:
        claimed = await start(store)
        ended = await end(store, failure(claimed))

        assert await tell(store, record(claimed, output=(b"late",))) is None

        assert await get_one(store, claimed.job_key) == ended

    async def test_an_unknown_job_tells_nothing(self, store: JobStore) -> None:
        claimed = await start(store)

        assert await tell(store, replace(record(claimed, output=(b"x",)), id="nobody", ref=None)) is None

    async def test_a_stale_record_does_not_keep_its_neighbours(self, store: JobStore) -> None:
        await accept(store, *new_jobs(3))
        first, second, third = (await claim(store)).claims
        await rescue_one(store, second.job_key)

        revisions = await store.record([record(claimed, output=(b"x",)) for claimed in (first, second, third)], LIMITS)

        assert list(revisions) == [3, None, 3]
