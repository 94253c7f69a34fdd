"""JSON Schemas of inputs and results, for docs, forms and submitters that do not import the model."""

from __future__ import annotations

from typing import Any

import msgspec

from asyncinfer._codec import is_dict, is_list
from asyncinfer._hooks import schema_hook


def json_schema(annotation: Any, *, title: str) -> bytes:
    """Return the JSON Schema of an annotation, as JSON, with every definition under the top's `$defs`."""
    (schema,), components = msgspec.json.schema_components(
        [annotation], schema_hook=schema_hook, ref_template="#/$defs/{name}"
    )
    definitions: dict[str, Any] = dict(components)
    # The input's own Struct is the top, not a definition; a recursive type has to stay one.
    reference = schema.get("$ref", "").removeprefix("#/$defs/")
    if reference in definitions and not _mentions(definitions[reference], schema["$ref"]):
        schema = definitions.pop(reference)
    lifted: dict[str, Any] = {}
    top = _lift(schema, lifted)
    lifted |= {name: _lift(definition, lifted) for name, definition in definitions.items()}
    return msgspec.json.encode({**top, "title": title} | ({"$defs": lifted} if lifted else {}))


def _lift(node: Any, definitions: dict[str, Any]) -> Any:
    """Return `node` without the `$defs` of pydantic's schemas inside it; they are moved into `definitions`."""
    if is_list(node):
        return [_lift(part, definitions) for part in node]
    if not is_dict(node):
        return node
    for name, definition in node.get("$defs", {}).items():
        definitions[name] = _lift(definition, definitions)
    return {name: _lift(part, definitions) for name, part in node.items() if name != "$defs"}


def _mentions(node: Any, reference: str) -> bool:
    if is_dict(node):
        return node.get("$ref") == reference or any(_mentions(part, reference) for part in node.values())
    return is_list(node) and any(_mentions(part, reference) for part in node)
