"""Bind a call's arguments to a model's input: one Struct a model, encoded once and decoded once as the check.

The bytes that passed the check are stored, and the model always receives what they decode to.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import msgspec
from msgspec import Struct, defstruct, msgpack

from asyncinfer._annotations import bytes_as_views
from asyncinfer._codec import (
    UNENCODABLE,
    UNREADABLE,
    canonical_encoder,
    check_json_depth,
    encoder,
    find_unencodable,
    misfit,
    new_decoder,
    new_json_decoder,
)
from asyncinfer._job import JSON, MSGPACK
from asyncinfer._schema import json_schema
from asyncinfer._signature import NO_DEFAULT, Parameter, Signature
from asyncinfer.errors import InvalidInput, InvalidModel

# Any, all over this file: arguments and annotations are the user's own.
_serial = itertools.count()
_IMMUTABLE = (type(None), bool, int, float, str, bytes)


class Binding:
    """The input of one model, ready to bind, check and decode. Made once, at registration."""

    def __init__(self, name: str, signature: Signature) -> None:
        """Raise InvalidModel when a default does not fit its own annotation."""
        parameters = signature.parameters
        self._name = name
        self._parameters = {parameter.name: parameter for parameter in parameters}
        self._is_flat = signature.has_flat_item
        self._positional = tuple(p.name for p in parameters if not p.is_keyword_only)
        self._keywords = tuple(p.name for p in parameters if p.is_keyword_only)
        _check_defaults(name, parameters)
        if self._is_flat:
            self._input: Any = parameters[0].annotation
            checked: Any = self._input
            self._known = _field_names(self._input)
        else:
            self._input = _input_struct(name, parameters)
            checked = _input_struct(name, [_as_view(parameter) for parameter in parameters])
            self._known = None
        self._decoder: msgpack.Decoder[Any] = new_decoder(self._input)
        self._check: msgpack.Decoder[Any] = new_decoder(checked)
        self._json = new_json_decoder(self._input)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Return the checked input as msgpack. Raise InvalidInput, its message beginning with the path."""
        try:
            value = self._take_item(args, kwargs) if self._is_flat else self._input(*args, **kwargs)
            data = encoder.encode(value)
            self._check.decode(data)
        except (*UNENCODABLE, *UNREADABLE) as exc:
            self._refuse(args, kwargs, exc)
        return data

    def bind_json(self, data: bytes | memoryview) -> bytes:
        """Return a JSON object, checked, as the same msgpack that `bind` makes. Raise InvalidInput."""
        try:
            check_json_depth(data)
            names = () if self._known is None else msgspec.json.decode(data, type=dict[str, msgspec.Raw])
            value = self._json.decode(data)
        except UNREADABLE as exc:
            path, message = misfit(exc, "input")
            raise InvalidInput(message, path=path) from exc
        self._check_names(names)
        try:
            return encoder.encode(value)
        except UNENCODABLE as exc:
            path, reason = find_unencodable(value, "input", exc)
            raise InvalidInput(f"{path}: {reason}", path=path) from exc

    def decode(self, data: bytes, content_type: str = MSGPACK) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the (args, kwargs) that stored bytes stand for. Raise one of UNREADABLE, for `misfit` to explain."""
        value = self._decoder.decode(data if content_type == MSGPACK else self.bind_json(data))
        if self._is_flat:
            return (value,), {}
        # msgspec keeps keyword-only fields last, whichever class they came from.
        fields = msgspec.structs.astuple(value)
        if not self._keywords:
            return fields, {}
        count = len(self._positional)
        return fields[:count], dict(zip(self._keywords, fields[count:], strict=True))

    def canonical(self, data: bytes, content_type: str = MSGPACK) -> bytes:
        """Return equal bytes for equal inputs: defaults filled in, dicts and sets in order, 1 as 1.0 for a float."""
        checked = data if content_type == MSGPACK else self.bind_json(data)
        return canonical_encoder.encode(self._check.decode(checked))

    def schema(self) -> bytes:
        """Return the JSON Schema of the input object, as JSON."""
        return json_schema(self._input, title=self._name)

    def _take_item(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if len(args) == 1 and not kwargs:
            return args[0]
        if not args and tuple(kwargs) == ("item",):
            return kwargs["item"]
        raise InvalidInput(f"input: expected exactly one item, got {len(args) + len(kwargs)} values")

    def _check_names(self, given: Iterable[str]) -> None:
        # msgspec lets a dataclass or a plain Struct ignore unknown fields: a misspelt option would pass unseen.
        unknown = next((name for name in given if name not in (self._known or ())), None)
        if unknown is not None:
            raise InvalidInput(f"input.{unknown}: unknown name", path=f"input.{unknown}")

    def _refuse(self, args: tuple[Any, ...], kwargs: dict[str, Any], cause: BaseException) -> NoReturn:
        """Raise InvalidInput with the path: off the fast path, so it may look at everything again."""
        if isinstance(cause, InvalidInput):
            raise cause
        if isinstance(cause, msgspec.DecodeError):
            path, message = misfit(cause, "input")
            raise InvalidInput(message, path=path) from cause
        values: Any = args[0] if self._is_flat else self._arguments(args, kwargs)
        path, reason = find_unencodable(values, "input", cause)
        raise InvalidInput(f"{path}: {reason}", path=path) from cause

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments by name. Raise InvalidInput when they do not match the parameters."""
        if len(args) > len(self._positional):
            raise InvalidInput(f"input: expected at most {len(self._positional)} positional values, got {len(args)}")
        given = dict(zip(self._positional, args, strict=False))
        for name in kwargs:
            if name not in self._parameters:
                raise InvalidInput(f"input.{name}: unknown name", path=f"input.{name}")
            if name in given:
                raise InvalidInput(f"input.{name}: given by position and by name", path=f"input.{name}")
        given |= kwargs
        for name, parameter in self._parameters.items():
            if name not in given and parameter.default is NO_DEFAULT:
                raise InvalidInput(f"input.{name}: missing", path=f"input.{name}")
        return given


def bind_unchecked(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Return named values as msgpack, for a model whose code is elsewhere: its worker checks them."""
    if args:
        raise InvalidInput("input: this model's code is not here; give every value by its parameter's name")
    try:
        return encoder.encode(kwargs)
    except UNENCODABLE as exc:
        path, reason = find_unencodable(kwargs, "input", exc)
        raise InvalidInput(f"{path}: {reason}", path=path) from exc


def check_json_object(data: bytes | memoryview) -> None:
    """Raise InvalidInput unless `data` is one JSON object that may be stored as it is."""
    try:
        check_json_depth(data)
        msgspec.json.decode(data, type=dict[str, Any])
    except UNREADABLE as exc:
        path, message = misfit(exc, "input")
        raise InvalidInput(message, path=path) from exc


def canonical_unchecked(data: bytes, content_type: str) -> bytes:
    """Return equal bytes for equal inputs, as far as that is possible without the model's types."""
    decoded = msgspec.json.decode(data) if content_type == JSON else msgpack.decode(data)
    return canonical_encoder.encode(decoded)


def _input_struct(name: str, parameters: Sequence[Parameter]) -> type[Struct]:
    # A module of its own: two Structs of one name in one module cannot both stand in a JSON Schema.
    module = f"asyncinfer.inputs.{next(_serial)}"
    keyword_only = [_field(parameter) for parameter in parameters if parameter.is_keyword_only]
    positional = [_field(parameter) for parameter in parameters if not parameter.is_keyword_only]
    base = defstruct(
        f"{name} keywords", keyword_only, module=module, kw_only=True, forbid_unknown_fields=True, gc=False
    )
    return defstruct(name, positional, bases=(base,), module=module, forbid_unknown_fields=True, gc=False)


def _field(parameter: Parameter) -> tuple[str, Any] | tuple[str, Any, Any]:
    default = parameter.default
    if default is NO_DEFAULT:
        return parameter.name, parameter.annotation
    if isinstance(default, _IMMUTABLE):
        return parameter.name, parameter.annotation, default
    # Not copied: it is encoded at once, and whoever calls the plain function shares it in the same way.
    return parameter.name, parameter.annotation, msgspec.field(default_factory=lambda: default)


def _as_view(parameter: Parameter) -> Parameter:
    return Parameter(parameter.name, bytes_as_views(parameter.annotation), parameter.default, parameter.is_keyword_only)


def _check_defaults(name: str, parameters: Sequence[Parameter]) -> None:
    for parameter in parameters:
        if parameter.default is NO_DEFAULT:
            continue
        where = f"model {name}, parameter {parameter.name}"
        try:
            new_decoder(parameter.annotation).decode(encoder.encode(parameter.default))
        except UNENCODABLE as exc:
            raise InvalidModel(f"{where}: its default cannot be encoded: {exc}") from exc
        except UNREADABLE as exc:
            raise InvalidModel(f"{misfit(exc, where)[1]}, in its default; write a type that holds it") from exc


def _field_names(item: Any) -> frozenset[str] | None:
    """Return the names that a flat item's JSON object may have; None where its own type decides (pydantic)."""
    known = msgspec.inspect.type_info(item)
    if isinstance(known, (msgspec.inspect.StructType, msgspec.inspect.DataclassType, msgspec.inspect.TypedDictType)):
        names = {field.encode_name for field in known.fields}
        tag = getattr(known, "tag_field", None)
        return frozenset(names | {tag} if tag else names)
    return None
