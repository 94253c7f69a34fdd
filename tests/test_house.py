"""The tree is the architecture: what must agree across its files does."""

import importlib.metadata
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import asyncinfer
from asyncinfer.abc import Executor, JobStore

HOUSE = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((HOUSE / "pyproject.toml").read_text())
BACKENDS = {init.parent.name for init in (HOUSE / "backends").glob("*/__init__.py")}
SOURCES = ("asyncinfer", "backends", "tests", "benchmarks", "docs", "tools")
ENTRY_POINTS = PYPROJECT["project"]["entry-points"]
CONTRACTS = {contract["name"]: contract for contract in PYPROJECT["tool"]["importlinter"]["contracts"]}

# Drivers, arrays, what the command and the adapters need, and a slow look-up: paid for only by who asks for them.
NOT_LOADED = {
    "aiosqlite",
    "httpx",
    "importlib.metadata",
    "numpy",
    "pydantic",
    "rich",
    "sqlite3",
    "starlette",
    "torch",
    "typer",
}


def files(pattern: str) -> Iterator[Path]:
    return (path for folder in SOURCES for path in (HOUSE / folder).rglob(pattern))


def test_the_wheel_holds_the_core_and_every_backend() -> None:
    packages = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert packages == ["asyncinfer", *sorted(f"backends/{name}" for name in BACKENDS)]


def test_every_backend_registers_and_nothing_else_does() -> None:
    registered = {target.partition(":")[0] for group in ENTRY_POINTS.values() for target in group.values()}

    assert registered == BACKENDS


def test_the_import_contracts_know_every_backend() -> None:
    assert set(PYPROJECT["tool"]["importlinter"]["root_packages"]) == {"asyncinfer", *BACKENDS}
    assert set(CONTRACTS["The core knows no backend"]["forbidden_modules"]) == BACKENDS
    assert set(CONTRACTS["Backends do not know each other"]["modules"]) == BACKENDS
    assert set(CONTRACTS["Backends, client, command and suites use public names"]["importers"]) >= BACKENDS


@pytest.mark.parametrize("group", ENTRY_POINTS)
def test_the_installed_entry_points_are_the_declared_ones(group: str) -> None:
    installed = {point.name: point.value for point in importlib.metadata.entry_points(group=group)}

    assert installed == ENTRY_POINTS[group]


@pytest.mark.parametrize("scheme", ENTRY_POINTS["asyncinfer.stores"])
def test_a_registered_store_keeps_the_store_contract(scheme: str) -> None:
    (point,) = importlib.metadata.entry_points(group="asyncinfer.stores", name=scheme)

    assert issubclass(point.load(), JobStore)


@pytest.mark.parametrize("name", ENTRY_POINTS["asyncinfer.executors"])
def test_a_registered_executor_keeps_the_executor_contract(name: str) -> None:
    (point,) = importlib.metadata.entry_points(group="asyncinfer.executors", name=name)

    assert issubclass(point.load(), Executor)


@pytest.mark.parametrize("package", ["asyncinfer", *sorted(f"backends/{name}" for name in BACKENDS)])
def test_a_package_tells_checkers_that_it_is_typed(package: str) -> None:
    assert (HOUSE / package / "py.typed").is_file()


@pytest.mark.parametrize("name", asyncinfer.__all__)
def test_a_public_name_can_be_imported(name: str) -> None:
    assert hasattr(asyncinfer, name)


def test_importing_the_library_loads_nothing_heavy() -> None:
    command = [sys.executable, "-c", "import sys, asyncinfer; print(*sys.modules, sep='\\n')"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()

    assert "asyncinfer" in loaded
    assert NOT_LOADED.isdisjoint(loaded)


def test_no_file_has_a_name_that_says_nothing() -> None:
    vague = {"base", "common", "helpers", "misc", "utils"}

    assert [path for path in files("*") if path.stem.strip("_") in vague] == []


def test_every_sql_file_belongs_to_a_store() -> None:
    stores = {target.partition(":")[0] for target in ENTRY_POINTS["asyncinfer.stores"].values()}
    homes = {path.relative_to(HOUSE).parts[:3] for path in files("*.sql")}

    assert homes <= {("backends", store, "sql") for store in stores}


def test_the_version_stands_in_one_place() -> None:
    version = PYPROJECT["project"]["version"]

    assert importlib.metadata.version("asyncinfer") == version
    assert [path for path in (HOUSE / "asyncinfer").rglob("*.py") if version in path.read_text()] == []


def test_the_readme_and_ci_name_the_same_test_command() -> None:
    in_ci = (HOUSE / ".ci" / "run").read_text().splitlines()
    in_readme = [line.strip() for line in (HOUSE / "README.md").read_text().splitlines()]

    assert in_ci[-1] == "make test"
    assert "make test" in in_readme
