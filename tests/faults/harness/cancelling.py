"""Cancel calls at random points, and look after each what they left behind."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

ANSWERED_WITHIN = 10.0
"""Seconds after which a call that nothing holds up counts as forgotten."""
LOCKED_FOR = 2.0
"""Seconds for which another connection waits for the write lock; a commit holds it for milliseconds."""
_PASSES = 12
_LONGEST = 0.004
"""Seconds: a call of the store takes about one thousandth."""

Calls = Mapping[str, Callable[[], Coroutine[Any, Any, object]]]  # Any: what a coroutine yields is its loop's business


class Bench(Protocol):
    """Something whose calls are cancelled."""

    @property
    def path(self) -> Path:
        """Return the database that it writes."""
        ...

    @property
    def calls(self) -> Calls:
        """Return every call by name; each makes a fresh coroutine on what the bench has at hand."""
        ...

    @property
    def favorites(self) -> Sequence[str]:
        """Return the names of the calls that are made half of the time."""
        ...

    async def has_open_transaction(self) -> bool: ...

    async def count_orphans(self) -> int:
        """Count running attempts that no caller knows of."""
        ...


async def cancel_at_random_points(bench: Bench, count: int, randomness: random.Random) -> Counter[str]:
    """Cancel `count` calls beside others that nobody cancels; stop when the bench no longer serves."""
    found: Counter[str] = Counter()
    names = list(bench.calls)

    def start_a_call() -> asyncio.Task[object]:
        name = randomness.choice(bench.favorites if randomness.random() < 0.5 else names)
        return asyncio.create_task(bench.calls[name](), name=name)

    while found["cancelled"] < count and not (found["unanswered"] or found["locked_out"]):
        beside, victim = start_a_call(), start_a_call()
        await let_it_begin(randomness)
        victim.cancel()
        done, late = await asyncio.wait([victim, beside], timeout=ANSWERED_WITHIN)
        for task in late:
            task.cancel()
        found["unanswered"] += len(late)
        for task in done:
            found["failed"] += not task.cancelled() and task.exception() is not None
        found["cancelled"] += victim.cancelled()
        found["left_open"] += await bench.has_open_transaction()
        found["locked_out"] += is_locked_out(bench.path)
        found["orphans"] += await bench.count_orphans()
    return found


def is_locked_out(path: Path) -> bool:
    """Tell whether another connection cannot write."""
    with closing(sqlite3.connect(path, timeout=LOCKED_FOR, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
        return False


async def let_it_begin(randomness: random.Random) -> None:
    """Let a random time pass, at whose end a caller goes away; it waits for nothing."""
    if randomness.random() < 0.5:
        for _ in range(randomness.randrange(_PASSES)):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(randomness.uniform(0, _LONGEST))
