"""What the fault tests publish becomes the table of the page."""

import json

import msgspec
import pytest

from tools.guarantee_figures import PAGE, page_with, read, table


def line(test: str, size: str = "pr", **figures: object) -> str:
    return json.dumps({"test": test, "size": size, "figures": figures})


def test_figures_become_words_and_zeros_stand_out() -> None:
    (only,) = read(line("F1", kills=1_000, lost=0, recovery_seconds_max=1.23456))

    assert table([only]).splitlines()[-1].endswith("| kills 1,000 · lost **0** · recovery seconds max 1.23 |")


def test_the_last_run_of_a_test_counts_and_the_order_is_that_of_the_tests() -> None:
    lines = read("\n".join([line("F10", kills=1), line("F2", kills=2), line("F2", kills=3)]))

    assert [(one.test, one.figures["kills"]) for one in lines] == [("F2", 3), ("F10", 1)]


def test_runs_of_both_sizes_and_of_several_stores_stand_side_by_side() -> None:
    lines = read("\n".join([line("F7"), line("F7", "rel"), line("F7 thread memory"), line("F7 thread sqlite")]))

    assert len(lines) == 4


def test_a_file_that_holds_something_else_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        read('{"test": "F1"}')


def test_the_page_has_its_block_of_figures() -> None:
    page = PAGE.read_text()

    assert "the figures" in page_with(page, "the figures")
    assert page_with(page_with(page, "first"), "second") == page_with(page, "second")
    with pytest.raises(ValueError, match="expected one block"):
        page_with("nothing", "the figures")
