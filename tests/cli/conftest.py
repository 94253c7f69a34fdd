"""The command as a user types it: a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.cli.background import COMMAND, Background, Running, running

__all__ = ["COMMAND", "Asyncinfer", "asyncinfer", "background", "environment", "environment_in", "run_in"]
Asyncinfer = Callable[..., "subprocess.CompletedProcess[str]"]


def environment_in(folder: Path) -> Mapping[str, str]:
    """Return the variables a command runs with: temporary files under the test's own folder, no colours."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(temporary), "NO_COLOR": "1", "TERM": "dumb"}


def run_in(folder: Path, environment: Mapping[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `asyncinfer ARGUMENTS` in a folder to its end."""
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=dict(environment), capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """Return the variables that the commands of a test run with."""
    return environment_in(tmp_path)


@pytest.fixture
def asyncinfer(tmp_path: Path, environment: Mapping[str, str]) -> Asyncinfer:
    """Return a function that runs `asyncinfer ARGUMENTS` in the test's folder to its end."""
    return partial(run_in, tmp_path, environment)


@pytest.fixture
def background(tmp_path: Path, environment: Mapping[str, str]) -> Background:
    """Return a context manager that runs `asyncinfer ARGUMENTS` with VARIABLES in the test's folder till it is left."""

    def start(*arguments: object, **variables: str) -> AbstractAsyncContextManager[Running]:
        return running(tmp_path, {**environment, **variables}, *arguments)

    return start
