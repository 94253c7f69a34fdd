"""The generated blocks of a page: found by their markers, replaced by what the code says now."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Block = Callable[[], str]

_BLOCK = re.compile(
    r"(?P<begin><!-- generated: (?P<name>[a-z_]+), by `python -m tools\.reference` -->\n)"
    r".*?(?P<end><!-- end -->\n)",
    re.DOTALL,
)


def names_in(page: str) -> list[str]:
    """Return the names of the page's blocks, in order."""
    return [found["name"] for found in _BLOCK.finditer(page)]


def with_blocks(page: str, blocks: Mapping[str, Block]) -> str:
    """Return the page with every block made anew. Raise KeyError for a block that nothing makes."""
    return _BLOCK.sub(lambda found: f"{found['begin']}\n{blocks[found['name']]().strip()}\n\n{found['end']}", page)
