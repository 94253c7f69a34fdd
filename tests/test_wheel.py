"""What users install passes the suites too, with the checkout out of sight."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
SHOW_HOMES = """
import asyncinfer, asyncinfer_memory, asyncinfer_sqlite, asyncinfer_thread
for package in (asyncinfer, asyncinfer_memory, asyncinfer_sqlite, asyncinfer_thread):
    print(package.__file__)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, HOUSE, cwd=folder)
    (built,) = folder.glob("asyncinfer-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a fresh environment that has the wheel, and borrows what the suites need."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    (home,) = folder.glob("lib/python*/site-packages")
    # A .pth line lends the packages of this environment, but not its own .pth files: the editable install stays behind.
    (home / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    return python


@pytest.fixture(scope="module")
def suites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the backends' tests and their settings, and no source."""
    folder = tmp_path_factory.mktemp("suites")
    shutil.copy(HOUSE / "pyproject.toml", folder)
    shutil.copytree(HOUSE / "tests" / "backends", folder / "tests" / "backends")
    shutil.copy(HOUSE / "tests" / "conftest.py", folder / "tests")
    return folder


def test_the_wheel_is_what_is_imported(installed: Path, suites: Path) -> None:
    homes = [Path(line) for line in _run(installed, "-c", SHOW_HOMES, cwd=suites).split()]

    assert {home.parent.parent for home in homes} == {homes[0].parent.parent}
    assert homes[0].is_relative_to(installed.parent.parent)


def test_the_suites_pass_on_the_wheel(installed: Path, suites: Path) -> None:
    report = _run(installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=suites)

    assert " passed" in report


def _run(*command: str | Path, cwd: Path) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
