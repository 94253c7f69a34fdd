import random
import re
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

import msgspec
import numpy
import numpy.typing
import pydantic
import pytest

from asyncinfer._binding import Binding, bind_unchecked, canonical_unchecked, check_json_object
from asyncinfer._job import JSON
from asyncinfer._signature import read_signature
from asyncinfer.errors import InvalidInput, InvalidModel


class Point(msgspec.Struct):
    x: int
    y: bytes = b""


class Scene(pydantic.BaseModel):
    title: str


@dataclass
class Crop:
    left: int
    right: int = 0


class Options(TypedDict, total=False):
    lang: str


Floats = numpy.typing.NDArray[numpy.float64]


def caption(image: bytes, points: list[Point] = [], *, lang: str = "en", scene: Scene | None = None) -> str:  # noqa: B006
    raise NotImplementedError


def weigh(values: dict[str, float], tags: set[str], array: Floats | None = None) -> None:
    raise NotImplementedError


def only_positional(a: int, b: int = 2, /) -> None:
    raise NotImplementedError


def bounded(size: Annotated[int, msgspec.Meta(ge=1)], parts: list[bytes | None]) -> None:
    raise NotImplementedError


class PointBatch:
    def predict_batch(self, items: list[Point]) -> list[int]:
        raise NotImplementedError


class CropBatch:
    def predict_batch(self, items: list[Crop]) -> list[int]:
        raise NotImplementedError


class OptionsBatch:
    def predict_batch(self, items: list[Options]) -> list[int]:
        raise NotImplementedError


class SceneBatch:
    def predict_batch(self, items: list[Scene]) -> list[int]:
        raise NotImplementedError


class TextBatch:
    def predict_batch(self, items: list[str]) -> list[int]:
        raise NotImplementedError


def binding_of(code: Any) -> Binding:
    return Binding("m", read_signature(code, "m", has_batch=False))


CAPTION = binding_of(caption)
WEIGH = binding_of(weigh)


def refusal(binding: Binding, *args: object, **kwargs: object) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as caught:
        binding.bind(args, kwargs)
    return caught.value.path, str(caught.value)


def json_refusal(binding: Binding, data: bytes) -> tuple[str, str]:
    with pytest.raises(InvalidInput) as caught:
        binding.bind_json(data)
    return caught.value.path, str(caught.value)


def test_a_call_gets_what_was_bound() -> None:
    data = CAPTION.bind((b"i", [Point(1, b"p")]), {"lang": "fr", "scene": Scene(title="t")})
    assert CAPTION.decode(data) == ((b"i", [Point(1, b"p")]), {"lang": "fr", "scene": Scene(title="t")})


def test_defaults_are_pinned_in_what_is_stored() -> None:
    stored = msgspec.msgpack.decode(CAPTION.bind((b"i",), {}))
    assert stored == {"image": b"i", "points": [], "lang": "en", "scene": None}


def test_names_and_positions_bind_alike() -> None:
    assert CAPTION.bind((), {"image": b"i", "lang": "en"}) == CAPTION.bind((b"i",), {})


def test_a_positional_only_parameter_is_called_by_position() -> None:
    binding = binding_of(only_positional)
    assert binding.decode(binding.bind((1,), {})) == ((1, 2), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "path", "message"),
    [
        ((1,), {}, "input.image", "input.image: expected bytes, got int"),
        ((), {}, "input.image", "input.image: missing"),
        ((b"",), {"lng": 1}, "input.lng", "input.lng: unknown name"),
        ((b"", [Point(1), {"x": "a"}]), {}, "input.points[1].x", "input.points[1].x: expected int, got str"),
        ((b"", [Point(1)], 1), {}, "input", "input: expected at most 2 positional values, got 3"),
        ((b"",), {"image": b""}, "input.image", "input.image: given by position and by name"),
        ((b"",), {"lang": None}, "input.lang", "input.lang: expected str, got None"),
        ((b"",), {"scene": {}}, "input.scene.title", "input.scene.title: field required"),
        ((b"", [object()]), {}, "input.points[0]", "input.points[0]: a value of type object cannot be encoded"),
        ((b"",), {"lang": "\ud800"}, "input.lang", "input.lang: a lone surrogate in a text cannot be encoded"),
    ],
)
def test_a_wrong_input_is_refused_by_its_path(
    args: tuple[object, ...], kwargs: dict[str, object], path: str, message: str
) -> None:
    assert refusal(CAPTION, *args, **kwargs) == (path, message)


def test_an_integer_beyond_64_bits_is_refused_at_both_doors() -> None:
    message = ("input.values.a", "input.values.a: an integer beyond 64 bits cannot be encoded")
    assert refusal(WEIGH, {"a": 2**70}, {"tag"}) == message
    assert json_refusal(CAPTION, b'{"image": "", "points": [{"x": 99999999999999999999999}]}') == (
        "input.points[0].x",
        "input.points[0].x: an integer beyond 64 bits cannot be encoded",
    )


def test_a_bound_of_the_annotation_holds() -> None:
    assert refusal(binding_of(bounded), 0, []) == ("input.size", "input.size: expected int >= 1")


def test_bytes_inside_containers_come_back_as_bytes() -> None:
    binding = binding_of(bounded)
    assert binding.decode(binding.bind((1, [b"a", None]), {})) == ((1, [b"a", None]), {})


def test_a_ready_struct_with_a_wrong_field_is_not_believed() -> None:
    wrong: Any = "a"
    assert refusal(CAPTION, b"", [Point(wrong)])[1] == "input.points[0].x: expected int, got str"


def test_a_value_nested_beyond_recursion_is_refused() -> None:
    def tree(node: Any) -> None: ...

    node: list[object] = []
    for _ in range(100_000):
        node = [node]
    assert refusal(binding_of(tree), node) == ("input", "input: nested too deep to be encoded")


def test_json_and_python_give_the_same_bytes() -> None:
    data = CAPTION.bind_json(
        b'{"image": "aQ==", "points": [{"x": 1, "y": "cA=="}], "lang": "fr", "scene": {"title": "t"}}'
    )
    assert data == CAPTION.bind((b"i", [Point(1, b"p")]), {"lang": "fr", "scene": Scene(title="t")})


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        (b'{"image": 1}', "input.image", "input.image: expected bytes, got int"),
        (b"{}", "input.image", "input.image: missing"),
        (b"[]", "input", "input: expected mapping, got list"),
        (b'{"image": "", "lng": 1}', "input.lng", "input.lng: unknown name"),
        (b'{"image": "***"}', "input.image", "input.image: invalid base64 encoded string"),
        (b"{", "input", "input: input data was truncated"),
        (b'{"image": ' + b"[" * 40 + b"]" * 40 + b"}", "input", "input: nested deeper than 32 levels"),
    ],
)
def test_wrong_json_is_refused_by_its_path(data: bytes, path: str, message: str) -> None:
    assert json_refusal(CAPTION, data) == (path, message)


@pytest.mark.parametrize(
    "data", [b'{"image": "\xff"}', b'{"image": "", "lang": "\\ud800"}', b'{"image": NaN}', b"", b"\x00"]
)
def test_json_that_is_none_is_refused(data: bytes) -> None:
    assert json_refusal(CAPTION, data)[1].startswith("input")


def test_random_bytes_are_refused_and_nothing_else() -> None:
    source = random.Random(7)
    for _ in range(2_000):
        noise = source.choice([b"", b'{"image":', b'{"image":""']) + source.randbytes(source.randrange(20))
        json_refusal(CAPTION, noise)


def test_stored_json_is_decoded_by_the_worker() -> None:
    assert CAPTION.decode(b'{"image": "aQ=="}', JSON) == ((b"i", []), {"lang": "en", "scene": None})


def test_canonical_bytes_are_equal_for_equal_inputs() -> None:
    array = numpy.zeros(2)
    one = WEIGH.bind(({"a": 1, "b": 2.0}, {"x", "y", "z"}), {"array": array})
    other = WEIGH.bind(({"b": 2, "a": 1.0}, {"z", "y", "x"}), {"array": array})
    assert WEIGH.canonical(one) == WEIGH.canonical(other)


def test_canonical_bytes_differ_for_other_inputs() -> None:
    assert CAPTION.canonical(CAPTION.bind((b"a",), {})) != CAPTION.canonical(CAPTION.bind((b"b",), {}))


def test_canonical_bytes_do_not_depend_on_the_content_type() -> None:
    bound = CAPTION.bind((b"i",), {})
    assert CAPTION.canonical(b'{"image": "aQ=="}', JSON) == CAPTION.canonical(bound)


@pytest.mark.parametrize(
    ("code", "item", "stored"),
    [
        (PointBatch, Point(1), {"x": 1, "y": b""}),
        (CropBatch, Crop(1), {"left": 1, "right": 0}),
        (OptionsBatch, {"lang": "fr"}, {"lang": "fr"}),
        (SceneBatch, Scene(title="t"), {"title": "t"}),
        (TextBatch, "t", {"item": "t"}),
    ],
)
def test_an_object_item_is_the_input_itself_and_anything_else_stands_under_item(
    code: type, item: object, stored: object
) -> None:
    binding = binding_of(code)
    data = binding.bind((item,), {})
    assert msgspec.msgpack.decode(data) == stored
    assert binding.decode(data) == ((item,), {})


@pytest.mark.parametrize("code", [PointBatch, CropBatch, OptionsBatch])
def test_an_unknown_name_of_an_object_item_is_refused(code: type) -> None:
    assert json_refusal(binding_of(code), b'{"x": 1, "left": 1, "lang": "a", "lng": 1}')[1].endswith(": unknown name")


@pytest.mark.parametrize("args", [(), (Point(1), Point(2))])
def test_a_batch_model_takes_exactly_one_item(args: tuple[object, ...]) -> None:
    assert refusal(binding_of(PointBatch), *args)[1] == f"input: expected exactly one item, got {len(args)} values"


def test_a_wrong_item_is_refused_by_its_path() -> None:
    assert refusal(binding_of(PointBatch), {"x": "a"}) == ("input.x", "input.x: expected int, got str")


def test_the_schema_lists_every_parameter_and_its_definitions() -> None:
    schema = msgspec.json.decode(CAPTION.schema())
    assert schema["title"] == "m"
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["image"]
    assert schema["properties"]["image"] == {"type": "string", "contentEncoding": "base64"}
    assert schema["properties"]["points"]["items"] == {"$ref": "#/$defs/Point"}
    assert set(schema["$defs"]) == {"Point"}


class Leaf(pydantic.BaseModel):
    value: int


class Tree(pydantic.BaseModel):
    leaf: Leaf
    trees: list["Tree"] = []


def grow(tree: Tree, trees: list[Tree]) -> None:
    raise NotImplementedError


def test_pydantic_definitions_are_lifted_to_the_top() -> None:
    text = binding_of(grow).schema()
    references = set(re.findall(rb'"\$ref":"#/\$defs/([^"]+)"', text))
    assert references == {b"Tree.Tree", b"Tree.Leaf"}
    assert references == {name.encode() for name in msgspec.json.decode(text)["$defs"]}


@pytest.mark.parametrize("default", [None, "x", object()], ids=["None", "str", "object"])
def test_a_default_that_does_not_fit_is_refused_at_registration(default: Any) -> None:
    def wrong(size: int = default) -> None: ...

    with pytest.raises(InvalidModel, match=r"^model m, parameter size: .*"):
        binding_of(wrong)


def test_an_unchecked_input_is_taken_by_name_only() -> None:
    assert msgspec.msgpack.decode(bind_unchecked((), {"a": [1]})) == {"a": [1]}
    with pytest.raises(InvalidInput, match="give every value by its parameter's name"):
        bind_unchecked((1,), {})


def test_an_unchecked_input_that_cannot_be_encoded_names_its_path() -> None:
    with pytest.raises(InvalidInput, match=r"^input\.a\[0\]: a value of type object cannot be encoded$"):
        bind_unchecked((), {"a": [object()]})


@pytest.mark.parametrize("data", [b"[1]", b"{", b'{"a": ' + b"[" * 40 + b"]" * 40 + b"}"])
def test_unchecked_json_must_be_one_object(data: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^input: "):
        check_json_object(data)


def test_unchecked_canonical_bytes_do_not_depend_on_order() -> None:
    assert canonical_unchecked(b'{"a": 1, "b": 2}', JSON) == canonical_unchecked(b'{"b": 2, "a": 1}', JSON)
