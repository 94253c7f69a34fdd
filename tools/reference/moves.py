"""The table of a job's moves, as a diagram and as a table."""

from __future__ import annotations

from asyncinfer import Status
from asyncinfer.lifecycle import MOVES, STATUSES, TERMINAL
from tools.reference.markdown import code, table

NO_RECORD = "[*]"
HEAD = (
    "```mermaid",
    "stateDiagram-v2",
    "    classDef terminal font-weight:bold",
    "    classDef live font-style:italic",
)


def diagram() -> str:
    """Return a Mermaid state diagram: one arrow for each pair of statuses, named by all moves that make it."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for move in MOVES:
        for source in move.sources:
            for target in move.targets:
                arrows.setdefault((source or NO_RECORD, target or NO_RECORD), []).append(move.name)
    lines = [f"    {source} --> {target}: {', '.join(names)}" for (source, target), names in arrows.items()]
    styles = [f"    class {status} {'terminal' if status in TERMINAL else 'live'}" for status in STATUSES]
    return "\n".join([*HEAD, *lines, *styles, "```"])


def moves() -> str:
    """Return every move with what it charges and who makes it."""
    return table(
        ["move", "from", "to", "charges", "made by"],
        [
            [code(move.name), _statuses(move.sources), _statuses(move.targets), move.charges or "nothing", move.made_by]
            for move in MOVES
        ],
    )


def _statuses(statuses: tuple[Status | None, ...]) -> str:
    return ", ".join(code(status) if status else "no record" for status in statuses)
