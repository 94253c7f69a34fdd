"""The command as a whole: its help, its version, and how it says that something is wrong."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from tests.cli.conftest import Asyncinfer

MAIN_WITHOUT = """
import sys
sys.modules[{missing!r}] = None
from asyncinfer.cli import main
main()
"""


def test_it_tells_its_version(asyncinfer: Asyncinfer) -> None:
    assert asyncinfer("--version").stdout == f"asyncinfer {importlib.metadata.version('asyncinfer')}\n"


@pytest.mark.parametrize(
    "command", ["demo", "work", "serve", "token", "top", "jobs list", "jobs show", "jobs cancel", "jobs retry"]
)
def test_every_command_has_a_help(asyncinfer: Asyncinfer, command: str) -> None:
    done = asyncinfer(*command.split(), "--help")

    assert done.returncode == 0
    assert f"asyncinfer {command}" in done.stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_its_extra_it_names_the_line_to_type(missing: str) -> None:
    command = [sys.executable, "-c", MAIN_WITHOUT.format(missing=missing)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"asyncinfer: {done.stderr.removeprefix('asyncinfer: ').strip()}"]
    assert "pip install 'asyncinfer[cli]'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["jobs", "list", "--store", "nowhere"], "expected a URL"),
        (["jobs", "list", "--store", "papyrus://x"], "papyrus"),
        (["top", "--once", "--store", "sqlite:////no/such/folder/jobs.db"], "does not exist"),
        (["jobs", "list", "--store", "sqlite:///slip.db"], "slip.db does not exist"),
        (["jobs", "list", "--url", "papyrus://x"], "base_url"),
        (["jobs", "list", "--url", "http://127.0.0.1:1"], "no connection"),
        (["work", "nothing"], "expected module:manager"),
        (["work", "no_such_module:manager"], "no_such_module"),
        (["work", "json:loads.nothing"], "nothing"),
        (["work", "json:decoder"], "expected a JobManager"),
    ],
)
def test_an_expected_error_is_one_line(asyncinfer: Asyncinfer, arguments: list[str], words: str) -> None:
    done = asyncinfer(*arguments)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["jobs", "list"], "--store"),
        (["jobs", "list", "--store", "memory://", "--url", "http://127.0.0.1:1"], "either"),
        (["jobs", "list", "--store", "memory://", "--token", "hush"], "--token is for --url"),
        (["jobs", "show", "job_1", "--url", "http://127.0.0.1:1", "--owner", "ann"], "--owner is for --store"),
        (["serve", "app:manager", "--log-level", "loud"], "warning"),
        (["serve", "app:manager", "--port", "70000"], "65535"),
        (["jobs", "list", "--store", "memory://", "--status", "done"], "succeeded"),
        (["jobs", "list", "--store", "memory://", "--label", "key"], "KEY=VALUE"),
        (["jobs", "cancel", "--store", "memory://"], "which jobs?"),
        (["jobs", "retry", "job_1", "--store", "memory://", "--status", "failed"], "either"),
        (["work", "app:manager", "--log-level", "loud"], "warning"),
        (["demo", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_a_wrong_argument_is_a_usage_error(asyncinfer: Asyncinfer, arguments: list[str], words: str) -> None:
    done = asyncinfer(*arguments)

    assert done.returncode == 2
    assert words in done.stderr
