"""The one writer: shared commits, deadlines, other processes' locks, full disks, and what breaks inside a batch."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from asyncinfer.errors import OutcomeUnknown, StorageFull, StoreError, StoreUnavailable, StoreUnusable
from asyncinfer.testing.builders import new_job, new_jobs, request, success
from asyncinfer.testing.steps import accept, claim, claim_one, finish_one, get_one, insert_one, start
from asyncinfer_sqlite import SQLiteStore, _claim, _insert
from asyncinfer_sqlite._connections import run
from asyncinfer_sqlite._rows import PreparedJob
from asyncinfer_sqlite._transaction import Transaction

PATIENCE = 30.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    async with SQLiteStore(tmp_path / "jobs.db", call_timeout=PATIENCE, insert_timeout=PATIENCE) as store:
        yield store


async def test_calls_that_arrive_together_share_a_commit(store: SQLiteStore) -> None:
    statements = await traced(store)

    await asyncio.gather(*(insert_one(store, new_job()) for _ in range(50)))

    assert statements.count("COMMIT") == 1


async def test_a_claim_issued_beside_an_insert_shares_its_commit(store: SQLiteStore) -> None:
    statements = await traced(store)

    _, answer = await asyncio.gather(insert_one(store, new_job()), claim(store, request()))

    assert (len(answer.claims), statements.count("COMMIT")) == (1, 1)


async def test_a_claim_that_finds_nothing_takes_no_lock(store: SQLiteStore) -> None:
    statements = await traced(store)

    await claim(store, request())

    assert "BEGIN IMMEDIATE" not in statements


async def test_a_short_lock_of_another_process_is_waited_for(store: SQLiteStore) -> None:
    other = locked(store)
    call = asyncio.create_task(insert_one(store, new_job()))
    await asyncio.sleep(0.05)
    assert not call.done()

    other.close()

    assert (await call).kind == "inserted"


async def test_what_waits_too_long_for_a_lock_is_withdrawn(store: SQLiteStore) -> None:
    withdrawn = new_job()
    other = locked(store)
    try:
        with in_haste(store), pytest.raises(StoreUnavailable, match="locked"):
            await insert_one(store, withdrawn)
    finally:
        other.close()

    later = new_job()
    await accept(store, later)
    assert list(await store.get([withdrawn.job_key])) == [None]
    assert (await get_one(store, later.job_key)).status == "queued"


async def test_what_waits_behind_a_stuck_batch_is_withdrawn_and_the_batch_unknown(
    store: SQLiteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(_insert.insert)
    stuck, behind = new_job(), new_job()
    monkeypatch.setattr(_insert, "insert", gate.move)
    first = asyncio.create_task(insert_one(store, stuck))
    await gate.is_reached()
    second = asyncio.create_task(insert_one(store, behind))

    with in_haste(store):
        with pytest.raises(OutcomeUnknown):
            await first
        with pytest.raises(StoreUnavailable):
            await second
    gate.open()

    await accept(store, new_job())
    answers = await store.get([stuck.job_key, behind.job_key])
    assert [job is None for job in answers] == [False, True]


async def test_a_claim_that_was_given_up_is_given_back(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    await accept(store, new_job())
    gate = Gate(_claim.claim)
    monkeypatch.setattr(_claim, "claim", gate.move)
    given_up = asyncio.create_task(claim(store, request()))
    await gate.is_reached()
    with in_haste(store), pytest.raises(OutcomeUnknown):
        await given_up
    monkeypatch.undo()
    gate.open()

    async with asyncio.timeout(PATIENCE):
        answer = await claim(store, request())
        while not answer.claims:
            answer = await claim(store, request())

    assert [(claimed.attempt, claimed.failures, claimed.crashes) for claimed in answer.claims] == [(2, 0, 0)]


async def test_an_item_that_breaks_a_batch_fails_alone(store: SQLiteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = new_jobs(10)
    monkeypatch.setattr(_insert, "insert", failing_on(jobs[3].id, _insert.insert))

    answers = await asyncio.gather(*(insert_one(store, job) for job in jobs))

    assert [answer.kind for answer in answers] == ["bad" if n == 3 else "inserted" for n in range(10)]
    assert sum(count.queued for count in await store.counts()) == 9


async def test_a_step_that_fails_leaves_its_neighbours_alone(store: SQLiteStore) -> None:
    def fail(tx: Transaction) -> None:
        tx.connection.execute("INSERT INTO flows VALUES ('half', 'done', 1, 1.0)")
        raise RuntimeError("broken")

    broken, inserted = await asyncio.gather(
        store._writer.step(fail), insert_one(store, new_job()), return_exceptions=True
    )

    assert isinstance(broken, Exception)
    assert "broken" in str(broken)
    assert not isinstance(inserted, BaseException)
    assert inserted.kind == "inserted"
    flows = await store._writer.look(lambda raw: raw.execute("SELECT model FROM flows").fetchall())
    assert ("half",) not in flows


async def test_two_endings_of_one_attempt_in_one_batch_are_one(store: SQLiteStore) -> None:
    claimed = await start(store)

    first, second = await asyncio.gather(
        finish_one(store, success(claimed, b"one")), finish_one(store, success(claimed, b"two"))
    )

    assert (first, second) == ("done", "lost")
    assert (await get_one(store, claimed.job_key)).result == b"one"


async def test_below_the_head_room_new_jobs_are_refused_and_running_ones_end(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "jobs.db") as roomy:
        claimed = await start(roomy, new_job(key="order-7"))
    async with SQLiteStore(tmp_path / "jobs.db", min_free_bytes=2**60) as full:
        refused = await insert_one(full, new_job())
        replayed = await insert_one(full, new_job(key="order-7"))

        assert (refused.kind, refused.limit) == ("full", "min_free_bytes")
        assert (replayed.kind, replayed.id) == ("existing", claimed.id)
        assert await finish_one(full, success(claimed, b"x" * 100_000)) == "done"


async def test_on_a_full_disk_new_jobs_are_refused_and_running_ones_end(store: SQLiteStore) -> None:
    await accept(store, *new_jobs(20))
    claims = (await claim(store, request(slots=20))).claims
    await writing(store, leave_five_pages)

    calls = [insert_one(store, new_job(input=b"x" * 50_000)), *(finish_one(store, success(each)) for each in claims)]
    refused, *ended = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(refused, StorageFull)
    assert ended == ["done"] * 20
    await writing(store, lambda raw: raw.execute("PRAGMA max_page_count = 1000000").fetchall())
    assert (await insert_one(store, new_job(input=b"x" * 50_000))).kind == "inserted"


@pytest.mark.parametrize("suffix", ["-wal", ""])
async def test_a_file_deleted_under_the_store_is_told(store: SQLiteStore, suffix: str) -> None:
    kept = new_job()
    await accept(store, kept)
    store.path.with_name(store.path.name + suffix).unlink()

    with pytest.raises(StoreUnusable, match="deleted"):
        await insert_one(store, new_job())


async def test_what_a_deleted_log_held_is_saved(tmp_path: Path) -> None:
    kept = new_job()
    async with SQLiteStore(tmp_path / "jobs.db") as store:
        await accept(store, kept)
        store.path.with_name("jobs.db-wal").unlink()
        with pytest.raises(StoreUnusable):
            await insert_one(store, new_job())

    async with SQLiteStore(tmp_path / "jobs.db") as again:
        assert (await claim_one(again)).id == kept.id


async def test_another_process_that_moved_a_job_is_noticed(store: SQLiteStore) -> None:
    here = new_jobs(3)
    await accept(store, *here)
    async with SQLiteStore(store.path) as there:
        taken = await claim(there, request(slots=1))
        await accept(there, new_job())
        rest = await claim(store, request())

        assert [claimed.id for claimed in taken.claims] == [here[0].id]
        assert len(rest.claims) == 3
        assert {claimed.attempt for claimed in rest.claims} == {1}


async def test_a_closed_store_can_be_opened_again(store: SQLiteStore) -> None:
    await accept(store, new_job())
    await store.close()
    with pytest.raises(StoreError):
        await claim(store, request())

    await store.open()

    assert (await claim_one(store)).attempt == 1


async def traced(store: SQLiteStore) -> list[str]:
    """Return a list to which every statement of the writer is added from now on."""
    statements: list[str] = []
    await writing(store, lambda raw: raw.set_trace_callback(statements.append))
    return statements


async def writing(store: SQLiteStore, action: Callable[[sqlite3.Connection], object]) -> object:
    connection = store._database._connection
    assert connection is not None
    return await run(connection, action)


def leave_five_pages(raw: sqlite3.Connection) -> None:
    pages = int(raw.execute("PRAGMA page_count").fetchone()[0])
    raw.execute(f"PRAGMA max_page_count = {pages + 5}").fetchall()


def locked(store: SQLiteStore) -> sqlite3.Connection:
    """Hold the write lock as another process would, until the connection is closed."""
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    return other


@contextmanager
def in_haste(store: SQLiteStore) -> Generator[None]:
    """Shorten the deadlines of calls for a while; for all of a test, a busy machine's pauses would break them too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store._writer, "_call_timeout", 0.3)
        patch.setattr(store._writer, "_insert_timeout", 0.3)
        yield


class Gate:
    """Keeps a move waiting on the writer's thread."""

    def __init__(self, move: Callable[..., object]) -> None:
        self._move = move
        self._reached, self._opened = threading.Event(), threading.Event()

    def move(self, *args: object, **kwargs: object) -> object:
        self._reached.set()
        assert self._opened.wait(PATIENCE)
        return self._move(*args, **kwargs)

    async def is_reached(self) -> None:
        assert await asyncio.to_thread(self._reached.wait, PATIENCE)

    def open(self) -> None:
        self._opened.set()


def failing_on(job_id: str, move: Callable[..., object]) -> Callable[..., object]:
    def moved(tx: Transaction, items: list[PreparedJob], *, has_room: bool) -> object:
        answers = move(tx, items, has_room=has_room)
        if any(item.job.id == job_id for item in items):
            raise RuntimeError("broken")
        return answers

    return moved
