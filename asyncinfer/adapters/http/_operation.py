"""How an operation of the contract is described: one entry of the table of routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from asyncinfer import wire
from asyncinfer.adapters.http._call import Call, Responds

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Json = dict[str, Any]  # Any: JSON has no type of its own

TEXT: Json = {"type": "string"}
CURSOR: Json = {"type": "string", "minLength": 1}
INSTANT: Json = {"type": "string", "format": "date-time"}


class Parameter(Struct, frozen=True):
    """One query parameter, header or part of the path."""

    name: str
    place: Literal["query", "header", "path"]
    schema: Json
    says: str
    example: object = None


class Gives(Struct, frozen=True):
    """One way in which an operation succeeds."""

    says: str
    body: Any = None
    """The wire's type, or a media type with its schema."""
    headers: tuple[str, ...] = ()
    media_type: str = "application/json"


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path."""

    id: str
    handler: Callable[[Call], Awaitable[Responds]]
    says: str
    gives: Mapping[int, Gives]
    problems: tuple[wire.ProblemSlug, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    takes: Any = None
    is_public: bool = False
    """It is answered without asking who asks."""
