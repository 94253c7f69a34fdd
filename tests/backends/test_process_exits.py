"""How a worker process ends, and what is said of it: the reason is in the outcome, and its slot is free again."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from asyncinfer.errors import SetupFailed
from asyncinfer_process import _exits, _memory
from tests.backends import process_models as models
from tests.backends.process_stage import error_of, has_gone, stage

REASONS = {
    "os._exit": "the worker process exited with status 3",
    "SIGKILL": "the worker process died of SIGKILL",
    "SIGSEGV": "the worker process died of SIGSEGV",
    "stack overflow": "the worker process died of SIGSEGV",
    "abort": "the worker process died of SIGABRT",
}


async def test_sys_exit_in_a_model_is_an_outcome_and_ends_no_process() -> None:
    async with stage() as one:
        before = await one.result(models.pid)
        outcome = await one.outcome(models.die, how="sys.exit")
        await one.outcome(models.die, how="sys.exit")

        assert (outcome.kind, error_of(outcome).type) == ("raised", "SystemExit")
        assert await one.result(models.pid) == before  # functions share a process


@pytest.mark.parametrize("how", REASONS)
async def test_a_death_is_told_with_its_reason_and_the_next_call_runs(how: str) -> None:
    async with stage() as one:
        outcome = await one.outcome(models.die, how=how)
        error = error_of(outcome)

        assert (outcome.kind, error.code, error.type) == ("worker_lost", "worker_lost", "WorkerLost")
        assert error.attempt == 7
        assert error.message == REASONS[how]
        assert await one.result(models.double, number=4) == 8


async def test_the_death_of_an_idle_process_is_no_job_s() -> None:
    async with stage() as one:
        dead = await one.result(models.pid)
        os.kill(dead, signal.SIGKILL)
        await has_gone(dead)

        assert await one.result(models.pid) != dead


async def test_the_stack_of_a_segfault_is_in_the_error(capfd: pytest.CaptureFixture[str]) -> None:
    async with stage() as one:
        error = error_of(await one.outcome(models.die, how="SIGSEGV"))

    assert "Fatal Python error: Segmentation fault" in error.traceback
    assert "process_models.py" in error.traceback
    assert "process_models.py" in capfd.readouterr().err


async def test_a_standard_error_that_nobody_reads_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "w") as unread:
        monkeypatch.setattr(sys, "stderr", unread)
        async with stage() as one:
            error = error_of(await one.outcome(models.shout_and_die, count=1_000))
        monkeypatch.undo()

    assert error.traceback.endswith("the last words")


async def test_a_kill_by_the_kernel_for_want_of_memory_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    events = tmp_path / "memory.events"
    events.write_text("low 0\noom 3\noom_kill 2\n")
    monkeypatch.setattr(_memory, "_group_file", tmp_path.joinpath)
    async with stage() as one:
        await one.prepare(models.die)
        events.write_text("low 0\noom 4\noom_kill 3\n")
        outcome = await one.outcome(models.die, how="SIGKILL")

    assert (outcome.kind, error_of(outcome).code) == ("worker_lost", "out_of_memory")
    assert error_of(outcome).message == "the worker process died of SIGKILL: the kernel killed it for want of memory"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("sys.exit", "model sys.exit: its setup raised SystemExit: 3"),
        ("os._exit", "model os._exit: the worker process exited with status 3"),
        ("SIGSEGV", "model SIGSEGV: the worker process died of SIGSEGV"),
    ],
)
async def test_a_setup_that_ends_its_process_is_a_failed_setup(how: str, reason: str) -> None:
    async with stage() as one:
        call = one.call(models.DiesInSetup, {}, name=how)
        (outcome,) = await one.executor.run(call)
        error = error_of(outcome)

        assert (outcome.kind, error.code, error.message) == ("not_run", "model_error", reason)
        assert (error.type, error.retryable, error.attempt) == ("asyncinfer.errors.SetupFailed", True, 7)
        assert "process_models.py" in error.traceback or how == "os._exit"
        assert one.executor.state(call.runner) == "failed"
        assert await one.result(models.double, number=4) == 8


async def test_a_failed_setup_is_raised_with_its_traceback_as_the_cause() -> None:
    async with stage() as one:
        with pytest.raises(SetupFailed, match=r"setup raised FileNotFoundError: weights\\udcff\.bin") as caught:
            await one.prepare(models.Unpickled)

    assert isinstance(caught.value.__cause__, _exits.Elsewhere)
    assert "process_models.py" in str(caught.value.__cause__)


async def test_an_environment_that_no_process_can_have_is_a_failed_setup() -> None:
    async with stage(env={"NUL": "\0"}) as one:
        with pytest.raises(SetupFailed, match="could not be started: embedded null byte"):
            await one.prepare(models.double)
        outcome = await one.outcome(models.double, number=1)

        assert (outcome.kind, one.executor.free) == ("not_run", 1)


async def test_too_few_descriptors_are_a_failed_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> None:
        raise OSError(24, "Too many open files")

    async with stage() as one:
        with monkeypatch.context() as patch:
            patch.setattr("socket.socketpair", none_left)
            outcome = await one.outcome(models.double, number=1)

        assert outcome.kind == "not_run"
        assert "no worker process can be started: [Errno 24]" in error_of(outcome).message
        assert await one.result(models.double, number=4) == 8


async def test_a_death_is_heard_without_pidfds_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    async with stage() as one:
        assert error_of(await one.outcome(models.die, how="os._exit")).message == REASONS["os._exit"]
        assert await one.result(models.double, number=4) == 8
