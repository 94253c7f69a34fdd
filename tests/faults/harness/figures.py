"""Publish what a fault test has measured, so that the documentation is filled from a run and never by hand."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

FIGURES_FILE = "ASYNCINFER_FIGURES"
"""Environment variable: the file to which each test appends one JSON line; without it the line is only printed."""


def report(test: str, size: Literal["pr", "rel"], figures: Struct) -> None:
    """Print the figures of one fault test (`F4`, `F4 at the first schema`, …) and append them to the figures' file."""
    line = msgspec.json.encode({"test": test, "size": size, **msgspec.structs.asdict(figures)})
    print(line.decode())
    path = os.environ.get(FIGURES_FILE)
    if path:
        with Path(path).open("ab") as file:
            file.write(line + b"\n")
