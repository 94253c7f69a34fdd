"""Carry what running models report to the store, batched: the latest progress, every output value, checkpoints.

Models report from any thread; one wake-up of the loop is armed at a time. Progress waits up to 50 ms so that only the
latest is written; output and checkpoints go with the same flush.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable

from asyncinfer._clock import Clock
from asyncinfer._limits import Limits
from asyncinfer._services.attempt import MoveIds, RunningAttempt
from asyncinfer._services.uses_store import UsesStore
from asyncinfer.abc import JobStore, Record
from asyncinfer.errors import StoreError, TooLarge

FLUSH_SECONDS = 0.05
UNSENT_VALUES = 1_000
"""Emitted values that may wait per attempt before `emit` holds up its thread."""
RETRY_SECONDS = 0.25


class Journal(UsesStore):
    """The one writer of `JobStore.record` in a manager."""

    def __init__(
        self, store: JobStore, clock: Clock, limits: Limits, on_lost: Callable[[RunningAttempt], None]
    ) -> None:
        self._store = store
        self._clock = clock
        self.limits = limits
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._changed = threading.Condition()
        self._armed: set[RunningAttempt] = set()
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._is_closed = False
        self._move_ids = MoveIds()
        self._unanswered: list[tuple[RunningAttempt, Record]] = []
        """Handed to the store, which has not answered."""
        self.on_recorded: Callable[[RunningAttempt], None] = lambda attempt: None

    def arm(self, attempt: RunningAttempt) -> None:
        """Note that `attempt` has something unsent; from any thread."""
        with self._changed:
            is_first = not self._armed
            self._armed.add(attempt)
        if is_first and not self._is_closed:
            if threading.get_ident() == self._loop_thread:
                self._wake.set()
            else:
                self._loop.call_soon_threadsafe(self._wake.set)

    def emit(self, attempt: RunningAttempt, data: bytes) -> None:
        """Add an output value; in a worker thread wait while too many are unsent. Raises TooLarge."""
        if len(data) > self.limits.result_bytes:
            raise TooLarge(f"output: {len(data)} bytes, the limit is {self.limits.result_bytes} (Limits.result_bytes)")
        is_worker_thread = threading.get_ident() != self._loop_thread
        with self._changed:
            if is_worker_thread:
                self._changed.wait_for(
                    lambda: len(attempt.unsent_output or ()) < UNSENT_VALUES or attempt.is_stopping or self._is_closed
                )
            if attempt.unsent_output is None:
                attempt.unsent_output = []
            attempt.unsent_output.append(data)
        self.arm(attempt)

    async def drain(self, attempt: RunningAttempt) -> None:
        """Return once everything `attempt` has emitted so far is stored, or the attempt has been stopped."""
        while self.has_unsent(attempt) and not attempt.is_stopping and not self._is_closed:
            try:
                await self.flush(None)
            except StoreError:
                await self._clock.sleep(RETRY_SECONDS)

    async def run(self) -> None:
        """Flush until the manager closes."""
        while True:
            await self._wake.wait()
            await self._clock.sleep(FLUSH_SECONDS)
            self._wake.clear()
            try:
                await self.flush(None)
            except StoreError:
                self._wake.set()
                await self._clock.sleep(RETRY_SECONDS)

    async def flush(self, attempts: Iterable[RunningAttempt] | None) -> None:
        """Store what is unsent of `attempts` (None: of all). Raises StoreError; a later flush then begins with it."""
        async with self._writing:
            await self._write_unanswered()  # the very same records: the store knows a repeated one
            self._unanswered = self._take(attempts)
            await self._write_unanswered()

    def has_unsent(self, attempt: RunningAttempt) -> bool:
        """Tell whether something that the attempt has said is not stored yet."""
        if attempt in self._armed:
            return True
        return bool(self._unanswered) and any(attempt is one for one, _ in self._unanswered)

    def forget(self, attempt: RunningAttempt) -> None:
        """Drop what an attempt that is over has not sent."""
        with self._changed:
            self._armed.discard(attempt)
            attempt.unsent_output = None
            self._changed.notify_all()

    def close(self) -> None:
        """Let threads that wait in `emit` go on."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _take(self, attempts: Iterable[RunningAttempt] | None) -> list[tuple[RunningAttempt, Record]]:
        taken: list[tuple[RunningAttempt, Record]] = []
        with self._changed:
            chosen = list(self._armed) if attempts is None else [one for one in attempts if one in self._armed]
            for attempt in chosen:
                self._armed.discard(attempt)
                claim = attempt.claim
                taken.append(
                    (
                        attempt,
                        Record(
                            claim.owner,
                            claim.id,
                            claim.attempt,
                            attempt.unsent_progress,
                            tuple(attempt.unsent_output or ()),
                            attempt.unsent_checkpoint,
                            claim.ref,
                            self._move_ids(),
                        ),
                    )
                )
                attempt.unsent_progress = attempt.unsent_checkpoint = attempt.unsent_output = None
            self._changed.notify_all()
        return taken

    async def _write_unanswered(self) -> None:
        if not self._unanswered:
            return
        revisions = await self._store.record([record for _, record in self._unanswered], self.limits)
        written, self._unanswered = self._unanswered, []
        for (attempt, _), revision in zip(written, revisions, strict=True):
            if revision is not None:
                self.on_recorded(attempt)
            elif not attempt.is_concluded:
                self._on_lost(attempt)
