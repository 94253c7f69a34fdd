"""What the fault tests publish becomes the table of the page."""

import json
import re

import msgspec
import pytest

from tools.guarantee_figures import HOUSE, PAGE, page_with, read, table


def line(test: str, size: str = "pr", **figures: object) -> str:
    return json.dumps({"test": test, "size": size, "figures": figures})


def test_figures_become_words_and_zeros_stand_out() -> None:
    row = table(read(line("F1", kills=1_000, lost=0, recovery_seconds_max=1.23456))).splitlines()[-1]

    assert row.endswith("| 1 | kills 1,000 · lost **0** · recovery seconds max 1.23 |")


def test_the_runs_of_one_test_share_a_row_which_hides_none_of_them() -> None:
    row = table(read("\n".join([line("F2", kills=8, missing=0), line("F2", kills=8, missing=3)]))).splitlines()[-1]

    assert row.endswith("| 2 | kills 8 · missing **0** to 3 |")


def test_sizes_and_stores_have_rows_of_their_own_in_the_order_of_the_tests() -> None:
    runs = read("\n".join([line("F10"), line("F7", "rel"), line("F7"), line("F7 thread memory"), line("F7")]))

    assert [(one[0].test, one[0].size, len(one)) for one in runs] == [
        ("F7", "pr", 2),
        ("F7", "rel", 1),
        ("F7 thread memory", "pr", 1),
        ("F10", "pr", 1),
    ]


def test_a_file_that_holds_something_else_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        read('{"test": "F1"}')


def test_the_page_has_its_block_of_figures() -> None:
    page = PAGE.read_text()

    assert "the figures" in page_with(page, "the figures")
    assert page_with(page_with(page, "first"), "second") == page_with(page, "second")
    with pytest.raises(ValueError, match="expected one block"):
        page_with("nothing", "the figures")


def test_the_page_names_the_fault_tests_that_there_are() -> None:
    named = {int(number) for number in re.findall(r"^\| F(\d+) \|", PAGE.read_text(), re.MULTILINE)}
    there = {int(path.name[6:8]) for path in (HOUSE / "tests" / "faults").glob("test_f*.py")}

    assert named == there
