"""Backends are found by entry point, and what is missing is named with the line to type."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from asyncinfer._plugins import executor_class, store_from_url
from asyncinfer.errors import InvalidOption, MissingExtra, UnknownPlugin
from asyncinfer_memory import MemoryStore
from asyncinfer_sqlite import SQLiteStore
from asyncinfer_thread import LoopExecutor, ThreadExecutor


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution `shelves` whose backends cannot be used, for one reason each."""
    info = tmp_path / "shelves-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: shelves\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[asyncinfer.stores]\nshelf = shelves:Shelf\nwrong = shelves_wrong:Wrong\n"
        "[asyncinfer.executors]\nwrong = shelves_wrong:Wrong\n"
    )
    (tmp_path / "shelves.py").write_text("import a_driver_that_nobody_has\n")
    (tmp_path / "shelves_wrong.py").write_text("class Wrong: ...\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])


def test_a_url_names_its_store(tmp_path: Path) -> None:
    assert isinstance(store_from_url("memory://"), MemoryStore)
    assert isinstance(store_from_url(f"sqlite:///{tmp_path}/jobs.db"), SQLiteStore)


def test_a_name_names_its_executor() -> None:
    assert (executor_class("loop"), executor_class("thread")) == (LoopExecutor, ThreadExecutor)


def test_a_text_that_is_no_url_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"sqlite:///jobs\.db"):
        store_from_url("jobs.db")


def test_an_unknown_scheme_or_executor_lists_what_is_installed() -> None:
    with pytest.raises(UnknownPlugin, match=r"'redis' \(installed: memory, sqlite\)"):
        store_from_url("redis://localhost")
    with pytest.raises(UnknownPlugin, match=r"'gpu' \(installed: loop, process, thread\)"):
        executor_class("gpu")


@pytest.mark.usefixtures("installed")
def test_a_missing_driver_names_the_line_to_type() -> None:
    with pytest.raises(MissingExtra, match=r"a_driver_that_nobody_has.*pip install 'shelves\[shelf\]'"):
        store_from_url("shelf://here")


@pytest.mark.usefixtures("installed")
def test_an_entry_point_that_is_no_backend_is_refused() -> None:
    with pytest.raises(UnknownPlugin, match="no JobStore"):
        store_from_url("wrong://here")
    with pytest.raises(UnknownPlugin, match="no Executor"):
        executor_class("wrong")
