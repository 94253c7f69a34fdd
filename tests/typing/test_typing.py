"""Run both type checkers on this folder, and on its wrong lines with their ignores taken away."""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
IGNORES = re.compile(r"  # type: ignore\[.*$", re.MULTILINE)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("mypy") is None or importlib.util.find_spec("pyright") is None,
        reason="the type checkers come with the extra `dev`",
    ),
]


def errors_of_mypy(*files: Path) -> set[tuple[str, int]]:
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--output=json", *map(str, files)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280).stdout
    found = [json.loads(line) for line in printed.splitlines()]
    return {(Path(one["file"]).name, one["line"]) for one in found if one["severity"] == "error"}


def errors_of_pyright(*files: Path) -> set[tuple[str, int]]:
    command = [sys.executable, "-m", "pyright", "--outputjson", *map(str, files)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280).stdout
    found = json.loads(printed)["generalDiagnostics"]
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in found if one["severity"] == "error"}


ErrorsOf = Callable[..., set[tuple[str, int]]]
CHECKERS = pytest.mark.parametrize("errors_of", [errors_of_mypy, errors_of_pyright], ids=["mypy", "pyright"])


@CHECKERS
def test_every_type_is_exact_and_no_ignore_is_unneeded(errors_of: ErrorsOf) -> None:
    assert errors_of(HERE / "models.py", HERE / "accepted.py", HERE / "refused.py") == set()


@CHECKERS
def test_exactly_the_wrong_lines_are_refused(errors_of: ErrorsOf, tmp_path: Path) -> None:
    text = (HERE / "refused.py").read_text()
    wrong = {("bare.py", number) for number, line in enumerate(text.splitlines(), 1) if IGNORES.search(line)}
    (tmp_path / "bare.py").write_text(IGNORES.sub("", text))
    assert errors_of(tmp_path / "bare.py") == wrong
