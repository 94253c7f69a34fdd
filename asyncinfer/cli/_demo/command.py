"""The command `asyncinfer demo`."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from asyncinfer.cli._demo.files import Folder, files_of, in_words
from asyncinfer.cli._demo.proof import Proof, prove
from asyncinfer.cli._demo.report import print_report
from asyncinfer.cli._demo.screen import Screen
from asyncinfer.cli._demo.show import Show
from asyncinfer.cli._job_tables import console
from asyncinfer.cli._running import FAILED, run
from asyncinfer.errors import AsyncinferError, MissingExtra


def demo(
    folder: Annotated[
        Path,
        typer.Argument(exists=True, file_okay=False, help="The folder whose files are identified.", show_default="."),
    ] = Path(),
    everything: Annotated[
        bool, typer.Option("--all", help="Also version histories, virtual environments, caches and installed packages.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the store and print its URL.")] = False,
) -> None:
    """Identify every file of a folder with a neural network, kill a worker half-way, and prove that nothing was lost.

    Each file is a job in an SQLite store of its own. Two processes run them; one is killed with SIGKILL while it runs
    attempts. Meanwhile the jobs can also be asked for over HTTP, on a free port of this machine, and the demo does so
    once. Every job's ending is delivered by a signed webhook to a receiver on this machine, which verifies each. The
    proof is read from the store; the exit code is 0 only if it holds.
    """
    if not run(_demo(folder.resolve(), everything=everything, keep=keep)).holds:
        raise typer.Exit(FAILED)


async def _demo(folder: Path, *, everything: bool, keep: bool) -> Proof:
    for package in ("magika", "onnxruntime", "starlette", "uvicorn", "httpcore", "cryptography"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(f"the demo needs {package}: pip install 'asyncinfer[demo]'")
    out = console()
    with _store(out, keep=keep) as url, Screen(out) as screen:
        found = await asyncio.to_thread(files_of, folder, everything=everything)
        if not found.files:
            raise AsyncinferError(f"there is no file to identify in {folder}")
        _tell_found(screen, folder, found)
        try:
            shown = await Show(url, found.files, screen).run()
        except asyncio.CancelledError:
            screen.say("interrupted: the second process is killed", "red")
            raise
        screen.say(f"every job has ended; reading {len(shown.submitted):,} of them back from the store")
        proof = await prove(url, shown.submitted, shown.killed.held, shown.asked, shown.told)
        screen.stop()
        print_report(out, proof, shown.killed)
        if proof.holds:
            out.print(f"Proven in {screen.seconds:.1f} s.", style="bold green")
        else:
            out.print("NOT proven: see the lines marked WRONG.", style="bold red")
    return proof


def _tell_found(screen: Screen, folder: Path, found: Folder) -> None:
    screen.say(f"{len(found.files):,} files in {folder}", "bold")
    if found.passed_by:
        screen.say(f"passed by (--all takes them too): {in_words(found.passed_by)}", "dim")
    if found.unnamed:
        screen.say(f"passed by: {found.unnamed} files whose name is not UTF-8", "dim")


@contextlib.contextmanager
def _store(out: Console, *, keep: bool) -> Generator[str, None, None]:
    """Give the URL of a new store, and remove it at the end unless it is to be kept."""
    place = Path(tempfile.mkdtemp(prefix="asyncinfer-demo-"))
    url = f"sqlite:///{place / 'jobs.db'}"
    try:
        yield url
    finally:
        if keep:
            out.print(f"Kept. Try: asyncinfer jobs list --store {url}", soft_wrap=True, highlight=False)
        else:
            shutil.rmtree(place, ignore_errors=True)
