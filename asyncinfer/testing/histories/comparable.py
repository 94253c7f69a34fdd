"""Answers of two stores, stripped of what each may choose for itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from msgspec import Struct

from asyncinfer.abc import Claims, Inserted

_CHOSEN_BY_THE_STORE = frozenset({"ref", "tag", "n", "lease_token", "next_cursor", "prev_cursor"})
"""Opaque values, and numbers of which only the order counts."""


def comparable(answer: object) -> object:
    """Return plain values that must be equal for every store that was told the same."""
    if isinstance(answer, Claims):
        return _without_group_numbers(answer)
    if isinstance(answer, Inserted):
        return _fields(answer) | {"message": bool(answer.message)}
    if isinstance(answer, Struct):
        return {"": type(answer).__name__} | _fields(answer)
    if isinstance(answer, Mapping):
        items = cast("Mapping[object, object]", answer).items()
        return {key: comparable(value) for key, value in items}
    if isinstance(answer, str | bytes):
        return answer
    if isinstance(answer, Sequence):
        return [comparable(item) for item in cast("Sequence[object]", answer)]
    if isinstance(answer, BaseException):
        return type(answer).__name__
    return answer


def in_any_order(items: Iterable[object]) -> list[object]:
    """Return the items in an order that does not depend on the store's, where the contract names none."""
    return sorted((comparable(item) for item in items), key=repr)


def _without_group_numbers(answer: Claims) -> object:
    ranks: dict[int, int] = {}
    claims = [_fields(claim) | {"group": ranks.setdefault(claim.group, len(ranks))} for claim in answer.claims]
    return _fields(answer) | {"claims": claims, "ended": in_any_order(answer.ended)}


def _fields(record: Struct) -> dict[str, object]:
    names = (name for name in record.__struct_fields__ if name not in _CHOSEN_BY_THE_STORE)
    return {name: comparable(getattr(record, name)) for name in names}
