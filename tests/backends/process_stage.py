"""What the tests of the process executor stand on: an executor with its calls, and what they tell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from asyncinfer import Batch, Limits, Model, model
from asyncinfer.abc import MSGPACK, Call, CallItem, JobContext, JobError, Outcome, Progress, Runner, SetupContext
from asyncinfer.testing.gate import Gate
from asyncinfer_process import ProcessExecutor

LIMITS = Limits(result_bytes=64 * 1024 * 1024)
SECONDS = 180.0
"""A test that takes longer hangs."""


class Told(Struct):
    """Everything that the jobs of a stage have told, in the order in which it came."""

    reports: list[Progress] = []
    outputs: list[object] = []
    checkpoints: list[object] = []
    order: list[str] = []


class Notes:
    """A reporter that keeps everything and wakes whoever waits for it."""

    def __init__(self) -> None:
        self.told: Told = Told()
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def report(self, progress: Progress) -> None:
        self.told.reports.append(progress)
        self._note("progress")

    def emit(self, data: bytes) -> None:
        self.told.outputs.append(msgspec.msgpack.decode(data))
        self._note("output")

    def save_checkpoint(self, data: bytes) -> None:
        self.told.checkpoints.append(msgspec.msgpack.decode(data))
        self._note("checkpoint")

    async def drain(self) -> None:
        return

    async def message(self, text: str) -> None:
        """Return when that was reported."""
        while all(report.message != text for report in self.told.reports):
            self._changed.clear()
            await self._changed.wait()

    def _note(self, kind: str) -> None:
        self.told.order.append(kind)
        self._loop.call_soon_threadsafe(self._changed.set)


class Stage:
    """A started process executor."""

    def __init__(self, executor: ProcessExecutor, gate: Gate) -> None:
        self.executor = executor
        self.gate = gate
        self.notes: Notes = Notes()
        self._freed = asyncio.Event()
        self._runners: dict[tuple[object, str], Runner] = {}

    async def start(self) -> None:
        await self.executor.start(self._freed.set)

    def runner(self, code: Any, **options: Any) -> Runner:  # Any: models of whatever signature, and their options
        key = (code, str(sorted(options.items())))
        if key not in self._runners:
            options |= {"batch": Batch()} if hasattr(code, "predict_batch") else {}
            is_model = isinstance(code, Model)
            self._runners[key] = (code if is_model else model(code, executor="process", **options)).runner(LIMITS)
        return self._runners[key]

    def call(
        self,
        code: object,
        *inputs: Mapping[str, object],
        time_limit: float | None = None,
        reporter: Notes | None = None,
        checkpoint: object = None,
        metadata: object = None,
        **options: object,
    ) -> Call:
        """Return a call with one item for each input."""
        runner = self.runner(code, **options)
        items = [
            CallItem(
                msgspec.msgpack.encode(one),
                MSGPACK,
                JobContext(
                    reporter or self.notes,
                    f"job_{number}",
                    "ada",
                    runner.model,
                    7,
                    1_000,
                    2_000,
                    None if checkpoint is None else msgspec.msgpack.encode(checkpoint),
                    b"" if metadata is None else msgspec.msgpack.encode(metadata),
                ),
            )
            for number, one in enumerate(inputs)
        ]
        return Call(runner, items, time_limit)

    def begin(self, call: Call) -> asyncio.Task[Sequence[Outcome]]:
        return asyncio.create_task(self.executor.run(call))

    async def outcome(self, code: object, **inputs: object) -> Outcome:
        (outcome,) = await self.executor.run(self.call(code, inputs))
        return outcome

    async def result(self, code: object, **inputs: object) -> Any:  # Any: the model's own
        return result_of(await self.outcome(code, **inputs))

    async def prepare(self, code: object, **options: object) -> None:
        runner = self.runner(code, **options)
        await self.executor.prepare(runner, SetupContext(model=runner.model, executor="process"))

    async def until_free(self, slots: int) -> None:
        while self.executor.free < slots:
            self._freed.clear()
            await self._freed.wait()


@asynccontextmanager
async def stage(slots: int = 1, **habits: Any) -> AsyncGenerator[Stage]:  # Any: the options of ProcessExecutor
    """Open an executor for one test."""
    async with asyncio.timeout(SECONDS), Gate() as gate:
        one = Stage(ProcessExecutor(slots, **habits), gate)
        await one.start()
        try:
            yield one
        finally:
            await one.executor.close(0)


def result_of(outcome: Outcome) -> Any:  # Any: the model's own
    assert outcome.kind == "returned", outcome
    return msgspec.msgpack.decode(outcome.result)


def error_of(outcome: Outcome) -> JobError:
    assert outcome.error is not None, outcome
    return outcome.error


def lives(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


async def has_gone(pid: int) -> None:
    """Return when a process has ended, whosever child it is."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
