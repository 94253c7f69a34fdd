"""Dense CPU tensors through the codec; needs the extra `torch`."""

from typing import Any

import pytest

from asyncinfer._codec import decode, encode, new_decoder

# Any: torch is optional, so its types cannot be named here.
torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool", "complex64"])
def test_a_tensor_keeps_its_dtype_shape_and_values(dtype: str) -> None:
    tensor = torch.ones((2, 3)).to(getattr(torch, dtype)).T
    back = new_decoder(torch.Tensor).decode(encode(tensor))
    assert (back.dtype, back.shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(back, tensor)


def test_a_tensor_without_elements_keeps_its_shape() -> None:
    assert decode(encode(torch.zeros((0, 4)))).shape == (0, 4)


def test_a_sparse_tensor_is_refused() -> None:
    with pytest.raises(TypeError, match="make it dense"):
        encode(torch.zeros((2, 2)).to_sparse())
