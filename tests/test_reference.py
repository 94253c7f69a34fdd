"""The generated parts of the documentation say what the code says now, and leave nothing out."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import asyncinfer
from asyncinfer import _services, errors
from tools.reference import api, defaults
from tools.reference.__main__ import BLOCKS, DOCS
from tools.reference.blocks import names_in, with_blocks
from tools.reference.source import constants

GENERATED = {str(page.relative_to(DOCS)): page for page in sorted(DOCS.rglob("*.md")) if names_in(page.read_text())}
MODULES = (
    *("_codec", "_engine", "_handle", "_manager", "_options", "_outcomes", "_scoped", "_submission", "_weight"),
    *(f"_services.{module.name}" for module in pkgutil.iter_modules(_services.__path__)),
)
# Defaults of JobManager's options, shown in its own table.
SHOWN_AS_OPTIONS = {("_manager", "DRAIN_SECONDS"), ("_manager", "CANCEL_GRACE_SECONDS")}


@pytest.mark.parametrize("page", GENERATED)
def test_a_generated_page_is_current(page: str) -> None:
    text = GENERATED[page].read_text()

    assert text == with_blocks(text, BLOCKS), "type: python -m tools.reference"


def test_every_block_stands_in_one_page() -> None:
    shown = [name for page in GENERATED.values() for name in names_in(page.read_text())]

    assert sorted(shown) == sorted(BLOCKS)


def test_the_reference_has_every_public_name() -> None:
    shown = [name for names in api.GROUPS.values() for name in names]

    assert sorted(shown) == sorted(asyncinfer.__all__)


def test_the_defaults_have_every_number_that_no_option_changes() -> None:
    shown = {(fixed.module, fixed.name) for fixed in defaults.FIXED} | SHOWN_AS_OPTIONS
    found = {(module, name) for module in MODULES for name in constants(f"asyncinfer.{module}") if name[0] != "_"}

    assert found == shown


def test_the_tree_in_the_errors_module_is_the_classes_own() -> None:
    drawn = [line.split("── ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "── " in line]
    tree = ast.parse(Path(errors.__file__).read_text())
    written = [line.name for line in tree.body if isinstance(line, ast.ClassDef)]

    assert drawn == [name for name in written if name not in {"AsyncinferError", "RetryLater", "CancelRequested"}]


def test_a_block_that_nothing_makes_is_not_passed_over() -> None:
    page = "<!-- generated: nothing, by `python -m tools.reference` -->\n<!-- end -->\n"

    with pytest.raises(KeyError, match="nothing"):
        with_blocks(page, BLOCKS)


def test_a_generated_default_is_the_value_in_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("asyncinfer._services.rescuer"), "TICK_SECONDS", 7.0)

    assert "| `rescuer.TICK_SECONDS` | 7 s |" in defaults.fixed_numbers()
