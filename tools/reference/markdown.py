"""Pieces of Markdown that the generated blocks are made of."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

PIPE = "|"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are Markdown of one line each."""
    lines = [head, ["---"] * len(head), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def code(text: str) -> str:
    """Return text as inline code, or nothing where there is nothing."""
    if PIPE in text:  # within backticks no spelling of it suits both the site and a repository's viewer
        return f"<code>{html.escape(text)}</code>"
    return f"`{text}`" if text else ""


def prose(docstring: str) -> str:
    """Return a docstring as Markdown: an indented example becomes a fenced one."""
    blocks: list[str] = []
    for paragraph in docstring.split("\n\n"):
        if paragraph.startswith("    "):
            lines = "\n".join(line.removeprefix("    ") for line in paragraph.splitlines())
            if blocks and blocks[-1].endswith("```"):
                blocks[-1] = f"{blocks[-1].removesuffix('```')}\n{lines}\n```"
            else:
                blocks.append(f"```python\n{lines}\n```")
        else:
            blocks.append(paragraph)
    return "\n\n".join(blocks)


def first_sentence(docstring: str) -> str:
    """Return a docstring's first line, in one line."""
    return re.sub(r"\s+", " ", docstring.split("\n\n")[0]).strip()


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace(PIPE, "&#124;")
