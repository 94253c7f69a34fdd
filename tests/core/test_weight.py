from typing import Any

import msgspec
import numpy
import pytest

from asyncinfer._weight import HEAVY_BYTES, is_heavy


class Holder(msgspec.Struct):
    name: str
    data: bytes


def _deep(value: Any) -> Any:
    for _ in range(1_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        b"x" * (HEAVY_BYTES + 1),
        "x" * (HEAVY_BYTES + 1),
        [b"x" * HEAVY_BYTES, "more"],
        {"image": bytes(HEAVY_BYTES)},
        list(range(100_000)),
        [{"text": "word " * 20}] * 10_000,
        numpy.zeros(HEAVY_BYTES),
        Holder(name="a", data=bytes(HEAVY_BYTES)),
    ],
    ids=["bytes", "str", "list", "dict", "many numbers", "many rows", "array", "Struct"],
)
def test_a_heavy_value_is_known(value: object) -> None:
    assert is_heavy(value)


@pytest.mark.parametrize(
    "value",
    [None, 7, "short", [], {}, list(range(1_000)), numpy.zeros(8), Holder(name="a", data=b""), _deep(1), object()],
    ids=["None", "int", "str", "list", "dict", "numbers", "array", "Struct", "deep", "object"],
)
def test_a_light_value_is_known(value: object) -> None:
    assert not is_heavy(value)
