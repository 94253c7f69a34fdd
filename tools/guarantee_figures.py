"""`python -m tools.guarantee_figures FILE`: put what the fault tests have measured into the page of guarantees.

FILE holds the JSON lines that the tests append to the file which ASYNCINFER_FIGURES names. Run it on the machine that
ran the tests, before the code changes: the page names the machine and the version.
"""

from __future__ import annotations

import ast
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec

from benchmarks.machine import Machine

HOUSE = Path(__file__).parent.parent
PAGE = HOUSE / "docs" / "explanation" / "guarantees.md"
SIZES = {"pr": "small, as in `make test`", "rel": "full, as in `make faults`"}

_BLOCK = re.compile(
    r"(<!-- figures: by `python -m tools\.guarantee_figures FILE` -->\n).*?(<!-- end of figures -->)", re.DOTALL
)


class Line(msgspec.Struct, frozen=True):
    """What one run of one fault test published."""

    test: str
    size: str
    figures: dict[str, object]

    @property
    def number(self) -> int:
        """Of `F7` and of `F7 thread sqlite` alike: 7."""
        return int(self.test.split()[0].removeprefix("F"))

    @property
    def name(self) -> tuple[int, str, str]:
        return self.number, self.test, self.size


def read(text: str) -> list[Line]:
    """Return the last line of each name, in order. Raise msgspec.DecodeError for what is not such a file."""
    lines = msgspec.json.Decoder(Line).decode_lines(text)
    newest = {line.name: line for line in lines}
    return [newest[name] for name in sorted(newest)]


def table(lines: Sequence[Line]) -> str:
    """Return the figures as Markdown."""
    rows = [f"| {line.test} {_title(line)} | {SIZES[line.size]} | {_figures(line.figures)} |" for line in lines]
    return "\n".join(["| test | size | figures |", "|---|---|---|", *rows])


def machine(here: Machine) -> str:
    """Return where the figures were measured."""
    return (
        f"Measured on {here.date[:10]} with asyncinfer {here.asyncinfer}, Python {here.python} and SQLite {here.sqlite}"
        f" on {here.system}: {here.cpu}, {here.cores} cores, {here.fsync_ms:.2f} ms for an fsync."
    )


def page_with(page: str, figures: str) -> str:
    """Return the page with its block of figures replaced. Raise ValueError when it has none."""
    changed, count = _BLOCK.subn(lambda found: f"{found[1]}\n{figures}\n\n{found[2]}", page)
    if count != 1:
        raise ValueError(f"expected one block of figures in the page, found {count}")
    return changed


def _title(line: Line) -> str:
    """Return what the test that has these figures says of itself first."""
    for file in sorted((HOUSE / "tests" / "faults").glob(f"test_f{line.number:02}_*.py")):
        tree = ast.parse(file.read_text())
        lines = [one for one in ast.walk(tree) if isinstance(one, ast.AnnAssign)]
        names = {one.target.id for one in lines if isinstance(one.target, ast.Name)}
        if names.issuperset(line.figures):
            first = " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
            return re.sub(r"^F\d+[:,.]?\s*", "", first).replace("|", "\\|")
    raise ValueError(f"no test {line.test} in tests/faults has the figures {', '.join(line.figures)}")


def _figures(figures: Mapping[str, object]) -> str:
    return " · ".join(f"{name.replace('_', ' ')} {_figure(value)}" for name, value in figures.items())


def _figure(value: object) -> str:
    match value:
        case bool() | None:
            return str(value).lower()
        case 0:
            return "**0**"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.3g}"
        case dict():
            return f"({_figures(cast('Mapping[str, object]', value))})"
        case list():
            return ", ".join(_figure(one) for one in cast("Sequence[object]", value)) or "none"
        case _:
            return str(value).replace("|", "\\|")


def main() -> None:
    lines = read(Path(sys.argv[1]).read_text())
    here = Machine.here(Path(tempfile.gettempdir()), queue_limit=0, is_quick=False)
    PAGE.write_text(page_with(PAGE.read_text(), f"{machine(here)}\n\n{table(lines)}"))
    print(f"{len(lines)} runs written to {PAGE.relative_to(HOUSE)}")


if __name__ == "__main__":
    main()
