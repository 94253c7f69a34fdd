"""How values that msgspec does not know travel: numpy arrays and scalars, dense CPU tensors, pydantic models.

None of these packages is imported here: a value or an annotation of one means that somebody else has.
An array or tensor is one msgpack extension: two bytes of header length, the header (dtype, shape), the data in C order.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable
from typing import Any, get_args, get_origin

import msgspec
from msgspec import msgpack

NUMPY_ARRAY = 1
TORCH_TENSOR = 2

# Any, all over this file: numpy, torch and pydantic are optional, so their types cannot be named.
Converter = Callable[[Any], Any]

_MEMORY_FORMATS = {
    "|b1": "?",
    "|i1": "b",
    "<i2": "h",
    "<i4": "i",
    "<i8": "q",
    "<f4": "f",
    "<f8": "d",
    "|u1": "B",
    "<u2": "H",
    "<u4": "I",
    "<u8": "Q",
    "bool": "?",
    "int8": "b",
    "int16": "h",
    "int32": "i",
    "int64": "q",
    "float32": "f",
    "float64": "d",
    "uint8": "B",
    "uint16": "H",
    "uint32": "I",
    "uint64": "Q",
}
"""What Python's own memoryview reads of numpy's and torch's types."""
_RAW_KINDS = "biufcmMSU"
"""numpy kinds whose bytes are their value; the others hold pointers (O) or lose their fields (V)."""
_MAX_HEADER = 1024
_header = msgpack.Decoder(tuple[str, tuple[int, ...]])


class HookError(ValueError):
    """A value does not fit a hooked type; `path` leads from that value to the part that does not."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


def encode_hook(value: Any) -> Any:
    """Return something that msgspec can encode in place of `value`. Raise TypeError when there is nothing."""
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if isinstance(value, numpy.ndarray):
            return _pack_array(numpy, value)
        if isinstance(value, numpy.generic):
            return _plain_scalar(numpy, value)
    torch = _loaded("torch", "Tensor")
    if torch is not None and isinstance(value, torch.Tensor):
        return _pack_tensor(torch, value)
    pydantic = _loaded("pydantic", "BaseModel")
    if pydantic is not None:
        if isinstance(value, pydantic.BaseModel):
            return _dump(value)
        if type(value).__module__ == "pydantic.networks":
            return str(value)
    raise TypeError(f"a value of type {_name(type(value))} cannot be encoded")


def unpack_extension(code: int, data: memoryview) -> Any:
    """Return the array or tensor that an extension holds; one whose package is not loaded stays as it is."""
    if code == NUMPY_ARRAY and (numpy := sys.modules.get("numpy")) is not None:
        return _unpack_array(numpy, data)
    if code == TORCH_TENSOR and (torch := _loaded("torch", "Tensor")) is not None:
        return _unpack_tensor(torch, data)
    return msgpack.Ext(code, bytes(data))


def plain_array(data: memoryview) -> Any:
    """Return an array or tensor of numbers as nested lists, without its package; an odd or empty one as its parts."""
    name, shape, raw = _parts(data)
    item = _MEMORY_FORMATS.get(name)
    if item is None or 0 in shape:
        return {"dtype": name, "shape": shape, "data": bytes(raw)}
    _check_size(shape, struct.calcsize(item), len(raw))
    cast: Any = raw.cast  # its type knows only formats that are written out
    return cast(item, shape).tolist() if shape else cast(item)[0]


def decode_hook(annotation: Any, value: Any) -> Any:
    """Turn what msgpack gave into `annotation`. Raise HookError when it does not fit."""
    try:
        convert = _converters[annotation]
    except KeyError:
        convert = _remember(_converters, annotation, from_json=False)
    return convert(value)


def decode_json_hook(annotation: Any, value: Any) -> Any:
    """Turn what JSON gave into `annotation`: an array is nested lists of numbers there."""
    try:
        convert = _json_converters[annotation]
    except KeyError:
        convert = _remember(_json_converters, annotation, from_json=True)
    return convert(value)


def has_hook(annotation: Any) -> bool:
    """Tell whether values of this annotation can be encoded and decoded here."""
    return _converter(annotation, from_json=False) is not None


def schema_hook(annotation: Any) -> dict[str, Any]:
    """Return the JSON Schema of a hooked type."""
    kind = get_origin(annotation) or annotation
    pydantic = _loaded("pydantic", "BaseModel")
    if pydantic is not None and isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
        # Two models may define types of one name: each definition is named after the model it belongs to.
        prefix = f"{_name(kind)}."
        schema: dict[str, Any] = annotation.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
        if "$defs" in schema:
            schema["$defs"] = {prefix + name: definition for name, definition in schema["$defs"].items()}
        return schema
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(kind, type) and issubclass(kind, numpy.generic):
        return {"type": "boolean" if issubclass(kind, numpy.bool_) else "number"}
    return {"type": "array", "description": f"{_name(kind)}: nested arrays of numbers"}


_converters: dict[Any, Converter] = {}
_json_converters: dict[Any, Converter] = {}
_MAX_CONVERTERS = 4096
"""Annotations are written by hand; a program that makes them up without end only loses the cache."""


def _remember(cache: dict[Any, Converter], annotation: Any, *, from_json: bool) -> Converter:
    convert = _converter(annotation, from_json=from_json)
    if convert is None:
        raise TypeError(f"a value of type {_name(annotation)} cannot be decoded")
    if len(cache) >= _MAX_CONVERTERS:
        cache.clear()
    cache[annotation] = convert
    return convert


def _converter(annotation: Any, *, from_json: bool) -> Converter | None:
    kind = get_origin(annotation) or annotation
    if not isinstance(kind, type):
        return None
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        if kind is numpy.ndarray:
            return _array_converter(numpy, annotation, from_json=from_json)
        if issubclass(kind, numpy.generic):
            return _scalar_converter(numpy, kind)
    torch = _loaded("torch", "Tensor")
    if torch is not None and kind is torch.Tensor:
        return _tensor_converter(torch, from_json=from_json)
    pydantic = _loaded("pydantic", "BaseModel")
    if pydantic is not None and issubclass(kind, pydantic.BaseModel):
        return _pydantic_converter(pydantic, annotation)
    return None


def _pack_array(numpy: Any, array: Any) -> msgpack.Ext:
    if array.dtype.kind not in _RAW_KINDS:
        raise TypeError(f"a numpy array of dtype {array.dtype} cannot be encoded: its bytes are not its value")
    flat = numpy.ascontiguousarray(array).reshape(-1)
    return _extension(NUMPY_ARRAY, array.dtype.str, array.shape, flat.view(numpy.uint8).data if flat.nbytes else b"")


def _unpack_array(numpy: Any, data: memoryview) -> Any:
    name, shape, raw = _parts(data)
    try:
        dtype = numpy.dtype(name)
    except TypeError:
        raise HookError(f"an array has the unknown dtype {name!r}") from None
    if dtype.kind not in _RAW_KINDS:
        raise HookError(f"an array has the refused dtype {name!r}")
    _check_size(shape, dtype.itemsize, len(raw))
    if not raw:
        empty = numpy.empty(shape, dtype)
        empty.flags.writeable = False
        return empty
    return numpy.frombuffer(raw.toreadonly(), dtype).reshape(shape)


def _array_converter(numpy: Any, annotation: Any, *, from_json: bool) -> Converter:
    wanted = _wanted_dtype(numpy, annotation)

    def convert(value: Any) -> Any:
        if not isinstance(value, numpy.ndarray):
            if not from_json:
                raise HookError(f"expected ndarray, got {_name(type(value))}")
            return _array_of_lists(numpy, value, wanted)
        if wanted is not None and not numpy.issubdtype(value.dtype, wanted):
            raise HookError(f"expected ndarray of {wanted.__name__}, got {value.dtype}")
        return value

    return convert


def _wanted_dtype(numpy: Any, annotation: Any) -> Any:
    """Return the scalar type that an annotation such as NDArray[float32] asks for, or None."""
    arguments = get_args(annotation)
    if len(arguments) != 2 or get_origin(arguments[1]) is not numpy.dtype:
        return None
    (scalar,) = get_args(arguments[1])
    return scalar if isinstance(scalar, type) and issubclass(scalar, numpy.generic) else None


def _array_of_lists(numpy: Any, value: Any, wanted: Any) -> Any:
    try:
        array = numpy.array(value)
        if array.dtype.kind not in "biuf":
            raise ValueError
        if wanted is None or numpy.issubdtype(array.dtype, wanted):
            return array
        return array.astype(wanted, casting="same_kind" if array.dtype.kind == "f" else "unsafe")
    except (ValueError, TypeError, OverflowError):
        asked = "" if wanted is None else f" of {wanted.__name__}"
        raise HookError(f"expected nested arrays{asked} of one shape") from None


def _plain_scalar(numpy: Any, value: Any) -> Any:
    plain = value.item()
    if isinstance(plain, numpy.generic):
        raise TypeError(f"a numpy scalar of dtype {value.dtype} cannot be encoded")
    return plain


def _scalar_converter(numpy: Any, kind: Any) -> Converter:
    def convert(value: Any) -> Any:
        if isinstance(value, bool) is not issubclass(kind, numpy.bool_) or not isinstance(
            value, (int, float, str, bytes)
        ):
            raise HookError(f"expected {kind.__name__}, got {_name(type(value))}")
        try:
            return kind(value)
        except (ValueError, TypeError, OverflowError):
            raise HookError(f"expected {kind.__name__}, got another {_name(type(value))}") from None

    return convert


def _pack_tensor(torch: Any, tensor: Any) -> msgpack.Ext:
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.is_quantized:
        raise TypeError(
            f"a tensor on {tensor.device} with layout {tensor.layout} cannot be encoded: make it dense, on the CPU"
        )
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    raw = flat.view(torch.uint8).numpy().data if flat.numel() else b""
    return _extension(TORCH_TENSOR, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), raw)


def _unpack_tensor(torch: Any, data: memoryview) -> Any:
    name, shape, raw = _parts(data)
    dtype: Any = getattr(torch, name, torch)
    if not isinstance(dtype, torch.dtype) or "q" in name:
        raise HookError(f"a tensor has the unknown dtype {name!r}")
    _check_size(shape, dtype.itemsize, len(raw))
    if not raw:
        return torch.empty(shape, dtype=dtype)
    # Copied: torch has no read-only tensors, and one over the stored bytes would let a model change them.
    return torch.frombuffer(bytearray(raw), dtype=dtype).reshape(shape)


def _tensor_converter(torch: Any, *, from_json: bool) -> Converter:
    def convert(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value
        if not from_json:
            raise HookError(f"expected Tensor, got {_name(type(value))}")
        try:
            return torch.tensor(value)
        except (ValueError, TypeError, RuntimeError, OverflowError):
            raise HookError("expected nested arrays of numbers of one shape") from None

    return convert


def _dump(value: Any) -> Any:
    try:
        return value.model_dump(by_alias=True)
    except Exception as exc:  # a model's own serializers may raise anything
        raise TypeError(f"a {_name(type(value))} cannot be dumped: {exc}") from exc


def _pydantic_converter(pydantic: Any, model: Any) -> Converter:
    def convert(value: Any) -> Any:
        try:
            return model.model_validate(value)
        except pydantic.ValidationError as exc:
            first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
            raise HookError(_uncapitalized(first["msg"]), _dotted(first["loc"])) from None
        except Exception as exc:  # a model's own validators may raise anything
            raise HookError(f"its validation raised {type(exc).__qualname__}: {exc}") from exc

    return convert


def _extension(code: int, dtype: str, shape: tuple[int, ...], raw: Any) -> msgpack.Ext:
    header = msgpack.encode((dtype, shape))
    return msgpack.Ext(code, b"".join((len(header).to_bytes(2, "big"), header, raw)))


def _parts(data: memoryview) -> tuple[str, tuple[int, ...], memoryview]:
    size = int.from_bytes(data[:2], "big")
    if len(data) < 2 + size or size > _MAX_HEADER:
        raise HookError("an array is cut short")
    try:
        dtype, shape = _header.decode(data[2 : 2 + size])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise HookError("an array has no readable header") from None
    return dtype, shape, data[2 + size :]


def _check_size(shape: tuple[int, ...], item_bytes: int, raw_bytes: int) -> None:
    # Before reshape: a forged shape must not decide how much memory is touched.
    if (
        any(not 0 <= length <= 2**48 for length in shape)
        or len(shape) > 64
        or math.prod(shape) * item_bytes != raw_bytes
    ):
        raise HookError(f"an array of shape {shape} does not fit its {raw_bytes} bytes")


def _loaded(package: str, mark: str) -> Any:
    # A module stands in sys.modules from the first line of its import on: the mark says that it is usable.
    module = sys.modules.get(package)
    return module if module is not None and hasattr(module, mark) else None


def _dotted(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _uncapitalized(text: str) -> str:
    return text[:1].lower() + text[1:]


def _name(kind: Any) -> str:
    return getattr(kind, "__qualname__", None) or repr(kind)
