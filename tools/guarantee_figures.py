"""`python -m tools.guarantee_figures FILE`: put what the fault tests have measured into the page of guarantees.

FILE holds the JSON lines that the tests append to the file which ASYNCINFER_FIGURES names: begin with a new one. Run it
on the machine that ran the tests, before the code changes: the page names the machine and the version.
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
SIZES = {"pr": "small", "rel": "full"}

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


def read(text: str) -> list[list[Line]]:
    """Return the lines of each name together, in order. Raise msgspec.DecodeError for what is not such a file."""
    named: dict[tuple[int, str, str], list[Line]] = {}
    for line in msgspec.json.Decoder(Line).decode_lines(text):
        named.setdefault(line.name, []).append(line)
    return [named[name] for name in sorted(named)]


def table(runs: Sequence[Sequence[Line]]) -> str:
    """Return the figures as Markdown, the runs of one name in one row."""
    rows = [
        f"| **{lines[0].test}** {_title(lines[0])} | {SIZES[lines[0].size]} | {len(lines)} | {_figures(lines)} |"
        for lines in runs
    ]
    return "\n".join(["| test | size | runs | figures of each |", "|---|---|---|---|", *rows])


def machine(here: Machine) -> str:
    """Return where the figures were measured."""
    return (
        f"Measured on {here.date[:10]} with asyncinfer {here.asyncinfer}, Python {here.python} and SQLite {here.sqlite}"
        f" on {here.system}: {here.cpu}, {here.cores} cores, a load of {here.load:.0f} in the last minute,"
        f" {here.fsync_ms:.2f} ms for an fsync. *Small* is the size of `make test`, *full* that of `make faults`."
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
            return re.sub(r"^F\d+[:,.]?\s*", "", first).rstrip(".").replace("|", "&#124;")
    raise ValueError(f"no test {line.test} in tests/faults has the figures {', '.join(line.figures)}")


def _figures(lines: Sequence[Line]) -> str:
    return " · ".join(f"{name.replace('_', ' ')} {_range(name, lines)}" for name in lines[0].figures)


def _range(name: str, lines: Sequence[Line]) -> str:
    """Return what several runs have in common, or from where to where they went."""
    values = [line.figures[name] for line in lines]
    if name == "seed":
        return ", ".join(map(str, values))
    numbers = [value for value in values if isinstance(value, (int, float))]
    if len(numbers) == len(values) and min(numbers) != max(numbers):
        return f"{_figure(min(numbers))} to {_figure(max(numbers))}"
    return ", ".join(dict.fromkeys(_figure(value) for value in values))


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
            parts = cast("Mapping[str, object]", value)
            return ", ".join(f"{name} {_figure(one)}" for name, one in parts.items()) or "none"
        case list():
            return ", ".join(_figure(one) for one in cast("Sequence[object]", value)) or "none"
        case _:
            return str(value).replace("|", "&#124;") or "none"


def main() -> None:
    runs = read(Path(sys.argv[1]).read_text())
    here = Machine.here(Path(tempfile.gettempdir()), queue_limit=0, is_quick=False)
    PAGE.write_text(page_with(PAGE.read_text(), f"{machine(here)}\n\n{table(runs)}"))
    print(f"{len(runs)} rows written to {PAGE.relative_to(HOUSE)}")


if __name__ == "__main__":
    main()
