import ast
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy
import numpy.typing
import pydantic
import pytest
from msgspec import msgpack

from asyncinfer._codec import (
    MAX_DEPTH,
    canonical_encoder,
    check_json_depth,
    decode,
    decode_as,
    encode,
    fingerprint,
    new_json_decoder,
)
from asyncinfer._hooks import NUMPY_ARRAY

Floats = numpy.typing.NDArray[numpy.float32]


class Point(msgspec.Struct):
    x: int
    tags: list[str] = []


class Picture(pydantic.BaseModel):
    pixels: bytes
    name: str = pydantic.Field(alias="title")
    source: pydantic.HttpUrl | None = None


class Nested(pydantic.BaseModel):
    pictures: list[Picture] = []


class Fussy(pydantic.BaseModel):
    value: int

    @pydantic.field_validator("value")
    @classmethod
    def _refuse(cls, value: int) -> int:
        raise KeyError(value)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        2**64 - 1,
        -(2**63),
        1.5,
        "ä",
        b"\x00\xff",
        [1, "a"],
        {"a": {"b": []}},
        datetime(2026, 1, 1, tzinfo=UTC),
    ],
)
def test_plain_values_come_back_as_they_were(value: object) -> None:
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "array",
    [
        numpy.arange(6, dtype="f4").reshape(2, 3),
        numpy.arange(6, dtype=">i8").reshape(2, 3).T,
        numpy.array(3.5),
        numpy.zeros((0, 4), dtype="u1"),
        numpy.array(["a", "bcd"]),
        numpy.array(["2026-01-01"], dtype="M8[D]"),
        numpy.array([1 + 2j]),
        numpy.arange(10)[::3],
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_keeps_its_dtype_shape_and_values(array: Any) -> None:
    back = decode(encode(array))
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert (back == array).all()


@pytest.mark.parametrize("length", [0, 5])
def test_a_decoded_array_is_read_only(length: int) -> None:
    assert not decode(encode(numpy.zeros(length))).flags.writeable


def test_a_decoded_array_shares_the_message_bytes() -> None:
    data = encode(numpy.arange(1000))
    assert numpy.shares_memory(decode(data), numpy.frombuffer(data, dtype="u1"))


@pytest.mark.parametrize("dtype", ["O", "i4,f8"])
def test_an_array_whose_bytes_are_not_its_value_is_refused(dtype: str) -> None:
    with pytest.raises(TypeError, match="its bytes are not its value"):
        encode(numpy.zeros(2, dtype=dtype))


def _extension(header: object, raw: bytes) -> bytes:
    packed = msgpack.encode(header)
    return msgpack.encode(msgpack.Ext(NUMPY_ARRAY, len(packed).to_bytes(2, "big") + packed + raw))


@pytest.mark.parametrize(
    ("header", "raw", "reason"),
    [
        (("<f4", (2, 2)), b"\0" * 12, "does not fit its 12 bytes"),
        (("<f4", (2**40, 2**40)), b"\0" * 4, "does not fit its 4 bytes"),
        (("<f4", (-1, -1)), b"\0" * 4, "does not fit its 4 bytes"),
        (("|O", (1,)), b"\0" * 8, "refused dtype"),
        (("nonsense", (1,)), b"\0" * 8, "unknown dtype"),
        (("<f4",), b"\0" * 8, "no readable header"),
    ],
)
def test_a_forged_array_is_refused_before_it_is_made(header: object, raw: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode(_extension(header, raw))


def test_a_truncated_array_is_refused() -> None:
    with pytest.raises(ValueError, match="cut short"):
        decode(msgpack.encode(msgpack.Ext(NUMPY_ARRAY, b"\x00")))


@pytest.mark.parametrize(
    ("scalar", "plain"),
    [(numpy.float32(1.5), 1.5), (numpy.int64(3), 3), (numpy.bool_(True), True), (numpy.str_("a"), "a")],
)
def test_a_numpy_scalar_is_stored_as_the_plain_number(scalar: object, plain: object) -> None:
    assert decode(encode(scalar)) == plain


def test_a_numpy_scalar_without_a_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="a numpy scalar of dtype"):
        encode(numpy.longdouble("1.5"))


def test_a_scalar_comes_back_as_its_annotation_says() -> None:
    assert type(decode_as(encode(1), numpy.float32)) is numpy.float32


def test_an_array_of_the_wrong_dtype_names_its_path() -> None:
    with pytest.raises(TypeError, match=r"^value\[0\]: expected ndarray of float32, got float64$"):
        decode_as(encode([numpy.zeros(2)]), list[Floats])


def test_something_else_than_an_array_names_its_path() -> None:
    with pytest.raises(TypeError, match=r"^value\[0\]: expected ndarray, got int$"):
        decode_as(encode([1]), list[Floats])


def test_json_gives_an_array_as_nested_lists() -> None:
    array = new_json_decoder(Floats).decode(b"[[1, 2], [3, 4]]")
    assert (array.dtype, array.tolist()) == (numpy.dtype("f4"), [[1, 2], [3, 4]])


@pytest.mark.parametrize("data", [b"[[1], [2, 3]]", b'["a"]', b"[null]", b"{}"])
def test_json_that_is_no_array_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.ValidationError, match="expected nested arrays of float32 of one shape"):
        new_json_decoder(Floats).decode(data)


def test_a_pydantic_model_comes_back_whole() -> None:
    nested = Nested(pictures=[Picture(pixels=b"\xff\x00", title="a", source=pydantic.HttpUrl("https://example.com/"))])
    assert decode_as(encode(nested), Nested) == nested


def test_a_pydantic_misfit_names_the_inner_path() -> None:
    with pytest.raises(TypeError, match=r"^value\[0\]\.pictures\[1\]\.pixels: input should be a valid bytes$"):
        decode_as(encode([{"pictures": [{"pixels": b"", "title": ""}, {"pixels": 1, "title": ""}]}]), list[Nested])


def test_a_validator_that_raises_anything_is_a_misfit() -> None:
    with pytest.raises(TypeError, match=r"^value: its validation raised KeyError: 1$"):
        decode_as(encode({"value": 1}), Fussy)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ({"x": "a"}, Point, "value.x: expected int, got str"),
        ({"x": 1, "tags": ["a", None]}, Point, "value.tags[1]: expected str, got None"),
        ({}, Point, "value.x: missing"),
        ([1], Point, "value: expected mapping, got list"),
        ({1: 2}, dict[str, int], "value: expected str, got int"),
    ],
)
def test_a_misfit_begins_with_its_path(value: object, kind: type, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        decode_as(encode(value), kind)
    assert str(caught.value) == message


@pytest.mark.parametrize("data", [b"", b"\x91", b"\xc1", b"\xa1\xff", b"\x91" * 100_000])
def test_bytes_that_are_no_msgpack_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^value: "):
        decode(data)


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "a value of type object cannot be encoded"),
        (2**64, "an integer beyond 64 bits"),
        ("\ud800", "a lone surrogate"),
        (_nested(100_000), "nested too deep"),
    ],
    ids=["object", "integer", "surrogate", "depth"],
)
def test_what_cannot_be_encoded_says_why(value: object, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        encode(value)


@pytest.mark.parametrize(
    "data",
    [b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, b'["' + b"[" * 500 + b'\\"]"]', b"[" + b"[],{}," * 500 + b"[]]"],
    ids=["deepest", "brackets in a text", "wide"],
)
def test_json_within_the_depth_passes(data: bytes) -> None:
    msgspec.json.decode(data)
    check_json_depth(data)


@pytest.mark.parametrize(
    "data", [b"[" * 33 + b"]" * 33, b'{"a":' * 33 + b"1" + b"}" * 33, b"[" * 1_000_000], ids=["list", "object", "open"]
)
def test_json_beyond_the_depth_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="nested deeper than 32 levels"):
        check_json_depth(data)


def test_canonical_bytes_do_not_depend_on_the_order_of_a_dict() -> None:
    assert canonical_encoder.encode({"a": 1, "b": 2}) == canonical_encoder.encode({"b": 2, "a": 1})


def test_a_fingerprint_tells_where_one_part_ends() -> None:
    assert fingerprint(b"ab", b"c") != fingerprint(b"a", b"bc")


def test_an_extension_of_a_package_that_is_not_loaded_stays_an_extension() -> None:
    data = encode(numpy.zeros(2))
    script = (
        "import sys; from asyncinfer._codec import decode; from msgspec.msgpack import Ext;"
        f"value = decode({data!r}); print([type(value) is Ext, 'numpy' in sys.modules, 'pydantic' in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert ast.literal_eval(printed.stdout) == [True, False, False]
