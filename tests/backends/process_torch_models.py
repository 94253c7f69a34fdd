"""Models with tensors, for test_process_tensors.py: torch is optional, so its types cannot be named here."""

import importlib
from typing import Any

torch: Any = importlib.import_module("torch")


def halve(tensor: Any) -> Any:
    assert isinstance(tensor, torch.Tensor)
    return tensor / 2


def threads() -> int:
    return int(torch.get_num_threads())
