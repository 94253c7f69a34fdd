"""Models of torch that the worker processes of test_torch_in_processes.py import."""

from __future__ import annotations

import tracemalloc
from importlib import import_module
from typing import Any

from asyncinfer import SetupContext

# Any: torch is optional, so its types cannot be named here.


def threads_of_late_import() -> int:
    """Import torch no sooner than the call, as a function without a setup does."""
    torch: Any = import_module("torch")
    return int(torch.get_num_threads())


class ThreadsOfSetup:
    def setup(self, context: SetupContext) -> None:
        self._torch: Any = import_module("torch")

    def predict(self) -> int:
        return int(self._torch.get_num_threads())


class OneThread(ThreadsOfSetup):
    def setup(self, context: SetupContext) -> None:
        super().setup(context)
        self._torch.set_num_threads(1)


class Echo:
    """Answers with the tensor that it is given; an empty one with the most bytes that its process held since setup."""

    def setup(self, context: SetupContext) -> None:
        self._torch: Any = import_module("torch")
        self._before = tracemalloc.get_traced_memory()[0]

    def predict(self, tensor: Any) -> Any:
        if tensor.numel():
            return tensor
        return self._torch.tensor([tracemalloc.get_traced_memory()[1] - self._before])
