"""The `asyncinfer` command: every subcommand with its arguments and options, from the functions that run them."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from tools.reference.markdown import code, prose, table

Command = Callable[..., Any]  # Any: a command takes and returns whatever it likes


def commands() -> str:
    """Return a section for each subcommand."""
    app: typer.Typer = importlib.import_module("asyncinfer.cli._app").app
    return "\n\n".join(_section(name, command) for name, command in _all(app, "asyncinfer"))


def _all(app: typer.Typer, before: str) -> Iterator[tuple[str, Command]]:
    for registered in app.registered_commands:
        if registered.callback is not None:
            yield f"{before} {registered.name or registered.callback.__name__}", registered.callback
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _all(group.typer_instance, f"{before} {group.name}")


def _section(name: str, command: Command) -> str:
    hints = get_type_hints(command, include_extras=True)
    rows = [
        _row(parameter, info)
        for parameter in inspect.signature(command).parameters.values()
        for info in getattr(hints[parameter.name], "__metadata__", ())
        if isinstance(info, (OptionInfo, ArgumentInfo))
    ]
    doc = prose(inspect.getdoc(command) or "")
    return f"## {name}\n\n{doc}\n\n{table(['argument', 'default', 'meaning'], rows)}"


def _row(parameter: inspect.Parameter, info: OptionInfo | ArgumentInfo) -> list[str]:
    metavar = str(info.metavar or parameter.name.upper())
    # In Annotated, typer's first declaration stands where its default would.
    declared = [info.default, *(info.param_decls or ())]
    flags = ", ".join(one for one in declared if isinstance(one, str))
    is_flag = isinstance(parameter.default, bool)
    written = f"{flags} {metavar}" if flags and not is_flag else flags or metavar
    meaning = f"{info.help or ''} From the environment: `{info.envvar}`." if info.envvar else info.help or ""
    return [code(written), _default(parameter), meaning]


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is inspect.Parameter.empty:
        return "required"
    return code(str(parameter.default)) if parameter.default not in (None, False, "") else ""
