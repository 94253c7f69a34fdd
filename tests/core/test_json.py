"""Stored values as JSON, without the packages that made them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from asyncinfer._codec import encode
from asyncinfer._json import is_bytes, json_of, raw_bytes


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.arange(6, dtype=np.int16).reshape(2, 3), [[0, 1, 2], [3, 4, 5]]),
        (np.array([0.5, float("nan")], np.float32), [0.5, None]),
        (np.array(True), True),
        (np.zeros((2, 0)), {"dtype": "<f8", "shape": [2, 0], "data": ""}),
        (np.zeros(1, np.float16), {"dtype": "<f2", "shape": [1], "data": "AAA="}),
        ({"a": b"hi", 3: float("inf")}, {"a": "aGk=", "3": None}),
        (["é", None, 2**63], ["é", None, 2**63]),
    ],
)
def test_a_stored_value_is_told_as_json(value: object, expected: object) -> None:
    assert json.loads(json_of(encode(value))) == expected


def test_an_array_needs_no_numpy_to_be_told() -> None:
    program = (
        f"import sys; from asyncinfer._json import json_of; print(json_of({encode(np.arange(3.0))!r}).decode(),"
        " 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)

    assert done.stdout.split() == ["[0.0,1.0,2.0]", "False"]


def test_what_is_no_msgpack_is_refused() -> None:
    with pytest.raises(ValueError, match="value"):
        json_of(b"\xc1")


def test_a_result_of_bytes_is_told_apart() -> None:
    assert is_bytes(encode(b"raw"))
    assert raw_bytes(encode(b"raw")) == b"raw"
    assert not is_bytes(encode("raw"))
    with pytest.raises(ValueError, match="bytes"):
        raw_bytes(encode("raw"))
