"""The generated parts of the documentation say what the code says now, and leave nothing out."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pytest

import asyncinfer
import asyncinfer.adapters.http
import asyncinfer.adapters.webhook
import asyncinfer.client
from asyncinfer import _services, errors, wire
from asyncinfer.adapters.prometheus import PrometheusTelemetry
from tools.reference import api, defaults, http, http_words, remote_numbers, webhook
from tools.reference.__main__ import BLOCKS, DOCS
from tools.reference.blocks import names_in, with_blocks
from tools.reference.source import constants

GENERATED = {str(page.relative_to(DOCS)): page for page in sorted(DOCS.rglob("*.md")) if names_in(page.read_text())}
MODULES = (
    *(
        "_codec",
        "_engine",
        "_handle",
        "_job",
        "_manager",
        "_options",
        "_outcomes",
        "_scoped",
        "_submission",
        "_weight",
        "lifecycle",
    ),
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


def test_the_client_page_has_every_public_name() -> None:
    shown = [name for names in api.CLIENT_GROUPS.values() for name in names]

    assert sorted(shown) == sorted(asyncinfer.client.__all__)


def test_the_http_page_has_every_public_name_but_the_types_that_it_tells_in_words() -> None:
    shown = [name for names in api.HTTP_GROUPS.values() for name in names]

    assert sorted([*shown, "Action", "Authenticate", "Authorize"]) == sorted(asyncinfer.adapters.http.__all__)


def test_the_http_page_has_every_record_of_the_wire() -> None:
    shown = [kind.__name__ for kinds in http.RECORDS.values() for kind in kinds]
    written = [name for name, kind in vars(wire).items() if isinstance(kind, type) and kind.__module__ == wire.__name__]

    assert sorted(shown) == sorted(written)


def test_the_http_page_tells_of_what_is_there_and_of_nothing_else() -> None:
    asked = [operation for several in http.ACTIONS.values() for operation in several]
    operations = [route.operation for route in http.ROUTES]
    members = {
        f"{kind.__name__}.{name}"
        for kinds in http.RECORDS.values()
        for kind in kinds
        for name in kind.__struct_fields__
    }

    assert sorted(asked) == sorted(operation.id for operation in operations if not operation.is_public)
    assert set(http_words.WHEN) == set(get_args(wire.ProblemSlug)) >= set(http_words.RETRY_AFTER)
    assert set(http_words.MEANINGS) <= members


def test_the_pages_of_both_ends_have_every_number_that_no_option_changes() -> None:
    served = [
        "_job_answer",
        *(f"http.{module.name}" for module in pkgutil.iter_modules(asyncinfer.adapters.http.__path__)),
    ]
    called = [module.name for module in pkgutil.iter_modules(asyncinfer.client.__path__)]

    assert numbers("asyncinfer.adapters", served) == {(one.module, one.name) for one in remote_numbers.HTTP}
    assert numbers("asyncinfer.client", called) == {(one.module, one.name) for one in remote_numbers.CLIENT}


def test_the_webhook_page_has_every_public_name() -> None:
    shown = [name for names in api.WEBHOOK_GROUPS.values() for name in names]

    assert sorted(shown) == sorted(asyncinfer.adapters.webhook.__all__)


def test_the_webhook_page_has_every_number_that_no_option_changes() -> None:
    modules = [f"webhook.{module.name}" for module in pkgutil.iter_modules(asyncinfer.adapters.webhook.__path__)]
    shown = {(one.module, one.name) for one in webhook.NUMBERS} | {webhook.SHOWN_AS_SCHEDULE}

    assert numbers("asyncinfer.adapters", modules) == shown


def test_the_page_of_metrics_has_every_metric_and_no_other() -> None:
    page = (DOCS / "how-to" / "metrics-and-traces.md").read_text()
    families = PrometheusTelemetry().registry.collect()
    names = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `asyncinfer_")]

    assert set(re.findall(r"`(asyncinfer_\w+)`", " ".join(rows))) == names


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


def numbers(package: str, modules: Iterable[str]) -> set[tuple[str, str]]:
    return {(one, name) for one in modules for name in constants(f"{package}.{one}") if name[0] != "_"}
