"""Find installed backends by entry point: URL scheme -> store class, name -> executor class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from asyncinfer.abc import Executor, JobStore
from asyncinfer.errors import InvalidOption, MissingExtra, UnknownPlugin

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

Group = Literal["asyncinfer.stores", "asyncinfer.executors", "asyncinfer.senders"]


def store_from_url(url: str) -> JobStore:
    """Return the store, not yet opened, that `url`'s scheme names, as `sqlite:///jobs.db`.

    Raises InvalidOption for a text that is no URL, UnknownPlugin for a scheme that nothing installed provides, and
    MissingExtra when the backend's driver is not installed.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise InvalidOption(f"store: expected a URL such as 'sqlite:///jobs.db' or 'memory://', got {url!r}")
    store_class = _load("asyncinfer.stores", scheme, "store scheme")
    if not (isinstance(store_class, type) and issubclass(store_class, JobStore)):
        raise UnknownPlugin(f"the entry point of store scheme {scheme!r} is {store_class!r}, which is no JobStore")
    return store_class.from_url(url)


def executor_class(name: str) -> type[Executor]:
    """Return the executor class registered as `name`. Raises UnknownPlugin or MissingExtra."""
    found = _load("asyncinfer.executors", name, "executor")
    if not (isinstance(found, type) and issubclass(found, Executor)):
        raise UnknownPlugin(f"the entry point of executor {name!r} is {found!r}, which is no Executor")
    return found


def _load(group: Group, name: str, kind: str) -> Any:  # Any: whatever the entry point names; the callers check it
    found = _installed(group)
    matches = found.select(name=name)
    if not matches:
        known = ", ".join(sorted(found.names)) or "none"
        raise UnknownPlugin(f"no installed package provides the {kind} {name!r} (installed: {known})")
    (match, *_) = matches
    try:
        return match.load()
    except ModuleNotFoundError as error:
        package = "asyncinfer" if match.dist is None else match.dist.name
        raise MissingExtra(
            f"the {kind} {name!r} needs the module {error.name!r}, which is not installed: "
            f"pip install '{package}[{name}]'"
        ) from error


def _installed(group: Group) -> EntryPoints:
    from importlib.metadata import entry_points  # 45 ms: paid by whoever opens a store, not by the import

    return entry_points(group=group)
