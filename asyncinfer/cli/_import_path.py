"""Find the manager that the operator named. The path comes from the command line, never from a job."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

from asyncinfer import JobManager
from asyncinfer.errors import InvalidOption


def manager_at(import_path: str) -> JobManager:
    """Return the JobManager at `module:name`, or what the zero-argument callable there returns.

    The working directory is importable. Raises InvalidOption when the path leads nowhere or to something else; what the
    module itself raises goes through.
    """
    module_name, separator, attribute = import_path.partition(":")
    if not separator or not module_name or not attribute:
        raise InvalidOption(f"MANAGER: expected module:manager, got {import_path!r}")
    found = _attribute(_module(module_name), attribute, import_path)
    if not isinstance(found, JobManager) and callable(found):
        found = cast("Callable[[], object]", found)()
    if not isinstance(found, JobManager):
        raise InvalidOption(
            f"MANAGER: expected a JobManager or a function that returns one at {import_path}, "
            f"got {type(found).__name__}"
        )
    return found


def _module(name: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # A module that the named one misses is its own defect, and keeps its traceback.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise InvalidOption(f"MANAGER: there is no module {error.name!r} in {here} or installed") from error
        raise


def _attribute(found: object, path: str, import_path: str) -> object:
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise InvalidOption(f"MANAGER: {import_path} has no {name!r}") from error
    return found
