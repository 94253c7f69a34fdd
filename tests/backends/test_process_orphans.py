"""No process outlives its manager, and none that it has forked holds anything up."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.backends import process_models as models
from tests.backends.process_stage import has_gone, lives, result_of, stage

SCRIPT = """
    import asyncio, sys
    from tests.backends.process_stage import stage
    from tests.backends import process_models as models

    async def main():
        async with stage(2) as one:
            await one.prepare(models.Doubler)
            busy = one.begin(one.call(models.hold_gil, {"gate": one.gate.address}))
            await one.gate.entered("holding")
            one.gate.open("holding")
            await one.gate.left("holding")
            print(*one.executor.pids, flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())
"""


async def test_idle_and_busy_processes_end_with_a_manager_that_is_killed() -> None:
    """The busy one holds the interpreter's lock: only the kernel can end it."""
    manager = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(SCRIPT), stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert manager.stdout is not None
    pids = [int(pid) for pid in (await manager.stdout.readline()).split()]
    were_alive = [lives(pid) for pid in pids]
    manager.kill()
    await manager.wait()
    began = time.monotonic()
    for pid in pids:
        await has_gone(pid)

    assert were_alive == [True, True]
    assert time.monotonic() - began < 2


UNCLOSED = """
    import asyncio, os
    from asyncinfer_process import ProcessExecutor
    from tests.backends.process_stage import Stage
    from tests.backends import process_models as models

    async def main():
        one = Stage(ProcessExecutor(), None)
        await one.start()
        loading = one.begin(one.call(models.double, {"number": 1}))
        print(await one.result(models.pid), flush=True)
        one.begin(one.call(models.pid, {}))

    asyncio.run(main())
"""


async def test_a_program_that_closes_nothing_ends_all_the_same() -> None:
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(UNCLOSED), stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    output, _ = await program.communicate()
    await has_gone(int(output))

    assert program.returncode == 0


@pytest.mark.parametrize("how", ["same group", "setsid"])
async def test_a_death_is_heard_at_once_though_a_forked_process_keeps_every_descriptor(how: str) -> None:
    async with stage() as one:
        await one.prepare(models.fork_and_die)
        began = time.monotonic()
        outcome = await one.outcome(models.fork_and_die, how=how)
        seconds = time.monotonic() - began
        forked = one.notes.told.outputs[0]
        assert isinstance(forked, int)
        if how == "setsid":
            assert lives(forked)  # it has left on purpose
            os.kill(forked, signal.SIGKILL)
        await has_gone(forked)

        assert outcome.kind == "worker_lost"
        assert seconds < 1


async def test_a_forked_process_does_not_speak_for_the_worker() -> None:
    async with stage() as one:
        forked = await one.result(models.fork_and_leave, how="same group")
        pids = one.executor.pids
        again = await one.result(models.fork_and_leave, how="same group")

        assert one.executor.pids == pids
        assert one.notes.told.outputs == []
        await one.executor.close(1)
        for pid in (forked, again):
            await has_gone(pid)


async def test_a_program_that_the_model_has_started_ends_with_a_killed_process() -> None:
    async with stage() as one:
        (outcome,) = await one.executor.run(one.call(models.start_program, {}))
        await one.executor.close(1)
        await has_gone(result_of(outcome))
