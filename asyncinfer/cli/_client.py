"""How commands that only look at a store, or change its jobs, open it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from asyncinfer import JobManager
from asyncinfer.errors import InvalidOption

SQLITE = "sqlite:///"


def client_of(url: str) -> JobManager:
    """Return a manager, not yet opened, that runs nothing.

    Raises InvalidOption when `url` names an SQLite file that does not exist: opening would make an empty one out of a
    slip of the keyboard.
    """
    path = unquote(url.removeprefix(SQLITE))
    if url.startswith(SQLITE) and path and not Path(path).exists():
        raise InvalidOption(f"store: {path} does not exist")
    return JobManager(url, run_jobs=False)
