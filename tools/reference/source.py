"""What Python forgets at run time and the reference needs: docstrings of attributes, signatures as written."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import textwrap
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

WIDTH = 100
"""A signature that is longer has a line for each parameter."""


class Attribute(Struct, frozen=True):
    """One annotated line of a class body."""

    name: str
    annotation: str
    default: str
    """As it was written; empty where there is none."""
    doc: str


class Method(Struct, frozen=True):
    """One function, with its overloads in place of its signature where it has some."""

    name: str
    signatures: tuple[str, ...]
    doc: str


def attributes(kind: type) -> tuple[Attribute, ...]:
    """Return the annotated public attributes of a class's own body, in order."""
    body = _class_of(kind).body
    behind = [*body[1:], None]
    return tuple(
        Attribute(
            line.target.id,
            ast.unparse(line.annotation),
            "" if line.value is None else ast.unparse(line.value),
            _text(following),
        )
        for line, following in zip(body, behind, strict=True)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.target.id[0] != "_"
    )


def instance_attributes(kind: type) -> tuple[Attribute, ...]:
    """Return the public attributes that a class's own constructor sets, in order."""
    constructors = [line for line in _class_of(kind).body if getattr(line, "name", "") == "__init__"]
    if not constructors or not isinstance(constructors[-1], ast.FunctionDef):
        return ()
    args, body = constructors[-1].args, constructors[-1].body
    annotations = {one.arg: _written(one.annotation) for one in [*args.posonlyargs, *args.args, *args.kwonlyargs]}
    found: list[Attribute] = []
    for line, following in zip(body, [*body[1:], None], strict=True):
        match line:
            case ast.Assign(targets=[ast.Attribute(attr=name)], value=value):
                annotation = annotations.get(value.id, "") if isinstance(value, ast.Name) else ""
            case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=written):
                annotation = _written(written)
            case _:
                continue
        if name[0] != "_":
            found.append(Attribute(name, annotation, "", _text(following)))
    return tuple(found)


def methods(kind: type, *, with_constructor: bool = True) -> tuple[Method, ...]:
    """Return the public methods and properties of a class's own body, in order, the constructor first."""
    wanted = {"__init__"} if with_constructor else set[str]()
    found: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
    for line in _class_of(kind).body:
        if isinstance(line, (ast.FunctionDef, ast.AsyncFunctionDef)) and (line.name in wanted or line.name[0] != "_"):
            found.setdefault(line.name, []).append(line)
    return tuple(_method(lines, kind.__name__) for lines in found.values())


def function(called: object) -> Method:
    """Return a function of a module."""
    name = str(getattr(called, "__name__", ""))
    tree = _tree(str(getattr(called, "__module__", "")))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return _method([line for line in tree.body if isinstance(line, kinds) and line.name == name], name)


def constants(module: str) -> dict[str, str]:
    """Return the module's constants that are plain numbers, by name, as they were written."""
    found: dict[str, str] = {}
    for line in _tree(module).body:
        if isinstance(line, ast.Assign):
            names = [
                name.id
                for target in line.targets
                for name in (target.elts if isinstance(target, ast.Tuple) else [target])
                if isinstance(name, ast.Name)
            ]
            if all(name.isupper() for name in names) and _is_number(line.value):
                found |= dict.fromkeys(names, ast.unparse(line.value))
    return found


def _method(lines: Sequence[ast.FunctionDef | ast.AsyncFunctionDef], name: str) -> Method:
    overloads = [line for line in lines if "overload" in map(ast.unparse, line.decorator_list)]
    shown = overloads if 0 < len(overloads) <= 3 else lines[-1:]
    return Method(
        lines[-1].name, tuple(_signature(line, name) for line in shown), ast.get_docstring(lines[-1], clean=True) or ""
    )


def _signature(line: ast.FunctionDef | ast.AsyncFunctionDef, class_name: str) -> str:
    returns = "" if line.returns is None else f" -> {ast.unparse(line.returns)}"
    decorators = [ast.unparse(one) for one in line.decorator_list]
    if "property" in decorators:
        return f"{line.name}{returns.replace(' -> ', ': ')}"
    if line.name == "__init__":
        opening, returns = f"{class_name}(", ""
    else:
        opening = f"{'async ' if isinstance(line, ast.AsyncFunctionDef) else ''}def {line.name}("
    parameters = _parameters(line.args)
    whole = f"{opening}{', '.join(parameters)}){returns}"
    if len(whole) <= WIDTH:
        return whole
    return f"{opening}\n" + "".join(f"    {one},\n" for one in parameters) + f"){returns}"


def _written(annotation: ast.expr | None) -> str:
    return "" if annotation is None else ast.unparse(annotation)


def _parameters(args: ast.arguments) -> list[str]:
    """Return the parameters as they were written, without self and cls."""
    missing = [None] * (len(args.posonlyargs) + len(args.args) - len(args.defaults))
    plain = [
        _parameter(one, default)
        for one, default in zip([*args.posonlyargs, *args.args], [*missing, *args.defaults], strict=True)
    ]
    if args.posonlyargs:
        plain.insert(len(args.posonlyargs), "/")
    if args.vararg is not None:
        plain.append(f"*{_parameter(args.vararg, None)}")
    elif args.kwonlyargs:
        plain.append("*")
    plain += [_parameter(one, default) for one, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    if args.kwarg is not None:
        plain.append(f"**{_parameter(args.kwarg, None)}")
    if plain and plain[0].split(":")[0] in {"self", "cls"}:
        del plain[0]
    return plain[1:] if plain[:1] == ["/"] else plain


def _parameter(one: ast.arg, default: ast.expr | None) -> str:
    annotation = "" if one.annotation is None else f": {ast.unparse(one.annotation)}"
    if default is None:
        return f"{one.arg}{annotation}"
    return f"{one.arg}{annotation}{' = ' if annotation else '='}{ast.unparse(default)}"


def _class_of(kind: type) -> ast.ClassDef:
    (found,) = [
        line for line in _tree(kind.__module__).body if isinstance(line, ast.ClassDef) and line.name == kind.__name__
    ]
    return found


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(Path(inspect.getfile(importlib.import_module(module))).read_text())


def _text(line: ast.stmt | None) -> str:
    match line:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return textwrap.dedent(text).strip()
        case _:
            return ""


def _is_number(value: ast.expr) -> bool:
    match value:
        case ast.Tuple(elts=elements):
            return all(_is_number(one) for one in elements)
        case ast.BinOp(left=left, right=right):
            return _is_number(left) and _is_number(right)
        case ast.Name(id="KIB" | "MIB" | "GIB") | ast.Constant(value=int() | float()):
            return True
        case _:
            return False
