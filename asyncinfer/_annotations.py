"""Which annotations can be a model's input or result: what msgspec tells apart, JSON carries and a codec exists for."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ParamSpec, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import inspect

from asyncinfer._hooks import has_hook
from asyncinfer.errors import InvalidModel

# Any, all over this file: an annotation may be a class, a generic alias, a union or a special form.
_KEYS_JSON_REFUSES = (inspect.NoneType, inspect.BoolType)
_COMPOSITE = (
    inspect.CollectionType,
    inspect.TupleType,
    inspect.StructType,
    inspect.DataclassType,
    inspect.NamedTupleType,
)


def check_annotation(annotation: Any, where: str) -> None:
    """Raise InvalidModel, its message beginning with `where`, unless values of this annotation can travel."""
    variable = next(_type_variables(annotation), None)
    if variable is not None:
        raise InvalidModel(f"{where}: the type variable {variable} is not solved; write the concrete type")
    try:
        root = inspect.type_info(annotation)
    except (TypeError, NameError) as exc:
        raise InvalidModel(f"{where}: {exc}; write types that JSON tells apart, or tagged Structs") from exc
    for node in _nodes(root):
        if isinstance(node, inspect.CustomType) and not has_hook(node.cls):
            raise InvalidModel(
                f"{where}: the type {_shown(node.cls)} has no codec; write a Struct, a dataclass, a TypedDict,"
                " a pydantic model, a numpy array, a builtin, or Any"
            )
        if isinstance(node, inspect.DictType):
            _check_key(node.key_type, where)


def bytes_as_views(annotation: Any) -> Any:
    """Return the annotation with memoryview for bytes inside containers and unions: checking it copies nothing."""
    if annotation is bytes:
        return memoryview
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(bytes_as_views(arguments[0]), *arguments[1:])]
    if origin is Union or origin is types.UnionType:
        return union_of(bytes_as_views(argument) for argument in arguments)
    if origin is dict and len(arguments) == 2:
        return types.GenericAlias(dict, (arguments[0], bytes_as_views(arguments[1])))
    if origin in (list, tuple) and arguments:
        return types.GenericAlias(origin, tuple(bytes_as_views(argument) for argument in arguments))
    return annotation


def union_of(annotations: Iterable[Any]) -> Any:
    """Return the union of annotations known only at run time."""
    first, *others = annotations
    for other in others:
        first = first | other
    return first


def _check_key(key: inspect.Type, where: str) -> None:
    kinds = key.types if isinstance(key, inspect.UnionType) else (key,)
    for kind in kinds:
        if isinstance(kind, (*_KEYS_JSON_REFUSES, *_COMPOSITE)):
            name = type(kind).__name__.removesuffix("Type").lower()
            raise InvalidModel(
                f"{where}: a dict with {name} keys cannot be JSON; write str or int keys, or a list of pairs"
            )


def _type_variables(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, (TypeVar, ParamSpec)):
        yield annotation
    # A generic alias that is not subscripted keeps its variables in __parameters__.
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        yield from getattr(annotation, "__parameters__", ())
    for argument in get_args(annotation):
        if get_origin(annotation) is not Annotated or argument is get_args(annotation)[0]:
            yield from _type_variables(argument)


def _nodes(root: inspect.Type) -> Iterator[Any]:
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if type(node) is tuple:
            waiting += node
        elif isinstance(node, (inspect.Type, inspect.Field)) and id(node) not in seen:
            # A recursive Struct is a cycle here.
            seen.add(id(node))
            yield node
            waiting.extend(getattr(node, name) for name in node.__struct_fields__)


def _shown(annotation: Any) -> str:
    return annotation.__qualname__ if isinstance(annotation, type) else repr(annotation)
