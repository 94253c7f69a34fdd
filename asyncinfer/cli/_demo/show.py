"""The demo itself: submit every file, let two processes identify them, kill one half-way, wait for the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from asyncinfer import JobCanceled, JobFailed, JobFilter, JobHandle, JobManager
from asyncinfer.cli._demo.model import SLOTS, FileKind, identify
from asyncinfer.cli._demo.over_http import Asked, ask_for, visitors_let_in
from asyncinfer.cli._demo.screen import Screen
from asyncinfer.cli._demo.second_process import Killed, SecondProcess
from asyncinfer.cli._demo.webhooks import Told, Webhooks, webhooks_sent
from asyncinfer.errors import AsyncinferError

CHUNK = 500
"""Files submitted in one call."""
FEW_FILES = 100
"""Fewer are done before two processes have met: then the second one works alone, and is killed at its first."""
AWAITED_AT_ONCE = 64
LOOK_SECONDS = 0.1


class Shown(Struct, frozen=True):
    """What happened, as the proof needs it."""

    submitted: frozenset[str]
    killed: Killed
    asked: Asked
    told: Told


class Show:
    """One run of the demo on one store."""

    def __init__(self, url: str, files: Sequence[str], screen: Screen) -> None:
        self.url = url
        self._files = files
        self._screen = screen
        self._handles: asyncio.Queue[JobHandle[FileKind]] = asyncio.Queue()
        self._submitted: set[str] = set()
        self._ended = 0
        self._is_half_done = asyncio.Event()
        self._is_done = asyncio.Event()
        self._killed: Killed | None = None
        self._has_many = len(files) >= FEW_FILES
        self._half = len(files) // 2 if self._has_many else 0
        self._asked_for = next((path for path in files if Path(path).name.startswith("README")), files[0])
        self._door = ""
        self._closed_because = ""
        self._webhooks: Webhooks | None = None
        self._untold_because = ""
        self._count(0)

    async def run(self) -> Shown:
        """Return once every job has ended. Raises AsyncinferError when the second process does not work."""
        async with contextlib.AsyncExitStack() as stack:
            manager = await stack.enter_async_context(JobManager(self.url, models=[identify], run_jobs=False))
            # Behind a quarter of the files: half of them have ended only when this process has run some too.
            second = stack.enter_context(SecondProcess(self.url, stands_still_from=self._half // 2 + 1))
            await self._let_visitors_in(stack, manager)
            await self._begin_to_tell(stack, manager)
            here = await stack.enter_async_context(contextlib.AsyncExitStack())
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            worker = await self._meet(second, manager)
            helpers = [tasks.create_task(self._take_results()) for _ in range(AWAITED_AT_ONCE)]
            helpers.append(tasks.create_task(self._keep_looking(manager, worker)))
            tasks.create_task(self._submit(manager))
            # Beside the kill: while this process loads the network the second one might do all there is.
            joining = tasks.create_task(self._join(here)) if self._has_many else None
            asking = tasks.create_task(self._ask_over_http()) if self._has_many else None
            await self._is_half_done.wait()
            self._killed = await second.kill_at_work(manager, worker, self._is_done.is_set)
            self._tell(self._killed)
            await (joining or self._join(here))
            asked = await (asking or self._ask_over_http())
            await self._is_done.wait()
            told = await self._tell_the_rest()
            for helper in helpers:
                helper.cancel()
        return Shown(frozenset(self._submitted), self._killed, asked, told)

    async def _meet(self, second: SecondProcess, manager: JobManager) -> str:
        row = self._screen.second
        row.pid = second.pid
        worker = await second.worker(manager)
        row.now("works", "green")
        self._screen.say(f"a second process (pid {second.pid}) works on the same store")
        return worker

    async def _join(self, stack: contextlib.AsyncExitStack) -> None:
        """Begin to run jobs in this process too."""
        await stack.enter_async_context(JobManager(self.url, models=[identify], concurrency={"thread": SLOTS}))
        self._screen.here.pid = os.getpid()
        self._screen.here.now("works", "green")

    async def _submit(self, manager: JobManager) -> None:
        identifies = identify if self._webhooks is None else identify.options(webhook=self._webhooks.url)
        for start in range(0, len(self._files), CHUNK):
            submissions = [identifies.bind(path) for path in self._files[start : start + CHUNK]]
            for handle in await manager.submit_many(submissions, wait_for_room=True):
                self._submitted.add(handle.id)
                self._handles.put_nowait(handle)
        self._screen.say(f"{len(self._submitted):,} jobs submitted, one a file")

    async def _let_visitors_in(self, stack: contextlib.AsyncExitStack, manager: JobManager) -> None:
        """Serve over HTTP; where no port can be had, the report will say so."""
        try:
            self._door = await stack.enter_async_context(visitors_let_in(manager))
        except AsyncinferError as error:
            self._closed_because = str(error)

    async def _begin_to_tell(self, stack: contextlib.AsyncExitStack, manager: JobManager) -> None:
        """Send webhooks; where no port can be had for their receiver, the report will say so."""
        try:
            self._webhooks = await stack.enter_async_context(webhooks_sent(manager))
        except AsyncinferError as error:
            self._untold_because = str(error)

    async def _tell_the_rest(self) -> Told:
        if self._webhooks is None:
            return Told(why=self._untold_because)
        left = len(self._submitted) - self._webhooks.told
        if left:
            self._screen.say(f"every job has ended; {left:,} of their webhooks are still to be delivered")
        return await self._webhooks.settled()

    async def _ask_over_http(self) -> Asked:
        """Ask once, and show how."""
        if self._closed_because:
            asked = Asked(self._asked_for, why=self._closed_because)
        else:
            asked = await asyncio.to_thread(ask_for, self._door, self._asked_for)
        if asked.why:
            self._screen.say(f"not asked over HTTP: {asked.why}", "red")
            return asked
        self._screen.say(
            f"{self._door} answers until the end; these three were just sent, try them in another terminal:"
        )
        for line in asked.shown:
            self._screen.say(f"  {line}", "cyan")
        return asked

    async def _take_results(self) -> None:
        while True:
            handle = await self._handles.get()
            try:
                label = (await handle).label
            except (JobFailed, JobCanceled) as error:
                label = type(error).__name__
            self._screen.kinds[label] += 1
            self._count(1)

    def _count(self, ended: int) -> None:
        self._ended += ended
        if self._ended >= self._half:
            self._is_half_done.set()
        if self._ended == len(self._files):
            self._is_done.set()

    async def _keep_looking(self, manager: JobManager, second: str) -> None:
        """Show how far it is and who runs what."""
        screen, is_rescued = self._screen, False
        while True:
            running = await manager.find(JobFilter(status=("running",)), limit=1_000)
            of_second = sum(job.worker == second for job in running.jobs)
            screen.here.running = len(running.jobs) - of_second
            screen.second.running = of_second
            if self._killed is not None and not is_rescued and not of_second:
                is_rescued = True
                screen.second.now("killed; its attempts are rescued", "magenta")
            screen.show(submitted=len(self._submitted), done=self._ended, total=len(self._files))
            await asyncio.sleep(LOOK_SECONDS)

    def _tell(self, killed: Killed) -> None:
        self._screen.second.now("killed", "red")
        self._screen.say(
            f"the second process is killed (SIGKILL) with {self._ended:,} of {len(self._files):,} files identified;"
            f" it was running {len(killed.held)} attempts",
            "red",
        )
