"""The command as a user types it: a process of its own, in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "asyncinfer.cli"]
Asyncinfer = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def environment(tmp_path: Path) -> Mapping[str, str]:
    """Return the variables a command runs with: temporary files under the test's own folder, no colours."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    return {**os.environ, "TMPDIR": str(temporary), "NO_COLOR": "1", "TERM": "dumb"}


@pytest.fixture
def asyncinfer(tmp_path: Path, environment: Mapping[str, str]) -> Asyncinfer:
    """Return a function that runs `asyncinfer ARGUMENTS` in the test's folder to its end."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=dict(environment), capture_output=True, text=True, check=False, timeout=120
        )

    return run
