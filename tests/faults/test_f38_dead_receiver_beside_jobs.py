"""F38: a webhook receiver that never answers delays no job's start, finish or cancel.

Two managers take turns: one whose jobs have a webhook each, beside a sender, and one that knows of none. What counts is
the ratio of their medians.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytest
from msgspec import Struct

from asyncinfer import JobManager
from asyncinfer.abc import Finish, JobStore, WriteAnswer
from asyncinfer.adapters.webhook import Guard, Secret, WebhookSender
from asyncinfer.testing import FaultyStore
from asyncinfer_memory import MemoryStore
from tests.adapters.webhook.sending import open_store
from tests.faults.harness.figures import Size, publish
from tests.faults.harness.timed_turns import MODELS, Turns
from tests.faults.harness.webhook_receiver import Request, receiving

pytestmark = pytest.mark.fault

TURNS = {"pr": 40, "rel": 1_000}
IN_A_ROW = 10
PAUSE_SECONDS = 0.05
"""Until what the sender still writes of its jobs is no burden of the others'."""
ADDED_MS = 10.0
"""To a median: some of the loop's time goes into sending, whoever receives. The receiver's time-out is 15,000 ms."""
Kind = Literal["memory", "sqlite"]


class Figures(Struct, frozen=True, kw_only=True):
    turns: int
    requests_without_an_answer: int
    start_ms: float
    """From submit to the model's first line; the median of jobs without a webhook."""
    start_ratio: float
    """Of the median with one, to it."""
    finish_ms: float
    """From the model's last line to the result in hand."""
    finish_ratio: float
    cancel_ms: float
    """From `cancel` of a running job to its ending in hand."""
    cancel_ratio: float
    most_added_ms: float
    """The largest of the three differences."""


def verdict(figures: Figures) -> list[str]:
    """Name the promises that are broken."""
    promises = {
        "no start, finish or cancel is delayed": figures.most_added_ms <= ADDED_MS,
        "the receiver is asked, and does not answer": figures.requests_without_an_answer > 0,
    }
    return [promise for promise, is_kept in promises.items() if not is_kept]


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_dead_receiver_delays_no_job(kind: Kind, size: Size, tmp_path: Path) -> None:
    folders = [tmp_path / "plain", tmp_path / "hooked"]
    for folder in folders:
        folder.mkdir()
    async with open_store(kind, folders[0], None) as plain, open_store(kind, folders[1], None) as hooked:
        figures = await scenario(plain, hooked, TURNS[size])
    publish(f"F38 {kind}", size, figures)
    assert verdict(figures) == []


class SendsInTheFinish(FaultyStore):
    """The protection removed: whoever ends a job waits for the receiver, for a while."""

    async def finish(self, items: Sequence[Finish]) -> Sequence[WriteAnswer]:
        answers = await super().finish(items)
        if await self.outbox.owed(100, 1):
            await asyncio.sleep(0.1)
        return answers


async def test_canary_sending_in_the_finish_delays_jobs() -> None:
    async with MemoryStore() as plain, MemoryStore() as inner:
        figures = await scenario(plain, SendsInTheFinish(inner), 10)
    assert "no start, finish or cancel is delayed" in verdict(figures)


async def scenario(plain_store: JobStore, hooked_store: JobStore, turns: int) -> Figures:
    async def never(request: Request) -> None:
        await asyncio.Event().wait()

    async with (
        receiving(never) as receiver,
        JobManager(plain_store, models=MODELS) as plain_manager,
        JobManager(hooked_store, models=MODELS) as hooked_manager,
    ):
        guard = Guard(allowed_networks=["127.0.0.0/8"], allow_http=True, ports=[receiver.port])
        async with WebhookSender(hooked_manager, secret=Secret.new(), guard=guard):
            plain, hooked = Turns(plain_manager), Turns(hooked_manager)
            for number in range(turns // IN_A_ROW):
                for _ in range(IN_A_ROW):
                    await hooked.take(f"http://127.0.0.1:{receiver.port}/{number % 10}")
                await asyncio.sleep(PAUSE_SECONDS)
                for _ in range(IN_A_ROW):
                    await plain.take(None)
            requests = len(receiver.requests)
    before = [statistics.median(ms) for ms in (plain.starts, plain.finishes, plain.cancels)]
    beside = [statistics.median(ms) for ms in (hooked.starts, hooked.finishes, hooked.cancels)]
    start, finish, cancel = (after / ms for ms, after in zip(before, beside, strict=True))
    return Figures(
        turns=turns,
        requests_without_an_answer=requests,
        start_ms=before[0],
        start_ratio=start,
        finish_ms=before[1],
        finish_ratio=finish,
        cancel_ms=before[2],
        cancel_ratio=cancel,
        most_added_ms=max(after - ms for ms, after in zip(before, beside, strict=True)),
    )
