"""A stranger's store is found by its entry point and held to the suite that ours pass, away from this repository."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from asyncinfer import JobManager, model
from asyncinfer._plugins import store_from_url
from asyncinfer.abc import JobStore
from asyncinfer.errors import InvalidOption, UnknownPlugin

STRANGER = Path(__file__).parent / "stranger"
METADATA = """\
Metadata-Version: 2.1
Name: asyncinfer-dict
Version: 1.0
"""
ENTRY_POINTS = """\
[asyncinfer.stores]
dict = asyncinfer_dict:DictStore
"""
# No asyncio mode and no conftest: the suite brings what it needs. The scope is what pytest-asyncio itself asks for.
SETTINGS = """\
[pytest]
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
SUITE = """\
from asyncinfer.testing import StoreSuite
from asyncinfer_dict import DictStore

class TestDictStore(StoreSuite):
    def make_store(self, clock, place):
        return DictStore(clock)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder as pip leaves it: the package, and beside it what it declares."""
    site = tmp_path / "site"
    declared = site / "asyncinfer_dict-1.0.dist-info"
    declared.mkdir(parents=True)
    shutil.copy(STRANGER / "asyncinfer_dict.py", site)
    (declared / "METADATA").write_text(METADATA)
    (declared / "entry_points.txt").write_text(ENTRY_POINTS)
    return site


@pytest.fixture
def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    importlib.invalidate_caches()
    yield
    sys.modules.pop("asyncinfer_dict", None)


@model
async def double(number: int) -> int:
    return 2 * number


@pytest.mark.usefixtures("installed")
def test_it_is_found_by_the_scheme_of_its_url() -> None:
    store = store_from_url("dict://")

    assert isinstance(store, JobStore)
    assert type(store).__module__ == "asyncinfer_dict"


@pytest.mark.usefixtures("installed")
def test_its_own_refusal_of_a_url_is_heard() -> None:
    with pytest.raises(InvalidOption, match="dict://"):
        store_from_url("dict://elsewhere")


def test_without_it_the_scheme_is_unknown() -> None:
    with pytest.raises(UnknownPlugin, match="dict"):
        store_from_url("dict://")


@pytest.mark.usefixtures("installed")
async def test_a_manager_runs_jobs_on_it() -> None:
    async with JobManager("dict://", models=[double]) as manager:
        job = await manager.submit(double, 21)

        assert await job == 42


def test_it_passes_the_suite_where_nothing_of_this_repository_is(site: Path, tmp_path: Path) -> None:
    home = tmp_path / "strangers-repository"
    home.mkdir()
    (home / "test_dict_store.py").write_text(SUITE)
    (home / "pytest.ini").write_text(SETTINGS)

    lent = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=home,
        env={**os.environ, "PYTHONPATH": lent},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr
    passed = int(done.stdout.rsplit(" passed", 1)[0].split()[-1])
    assert passed > 400
