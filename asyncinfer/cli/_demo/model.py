"""The demo's model: Magika, a neural network that tells a file's type from its first and last bytes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from asyncinfer import SetupContext, model

if TYPE_CHECKING:
    from magika import MagikaResult

QUEUE = "demo"
SLOTS = 4
"""Threads in each process, and so the attempts that a killed one leaves behind."""


class FileKind(Struct, frozen=True):
    """What a file is."""

    label: str
    """Magika's name of the type, as `python`; `unreadable` where the file could not be opened."""
    group: str
    """The kind of type, as `code`, `document` or `archive`."""
    description: str
    score: float
    """How sure it is, 0 to 1."""


class Identifies(Protocol):
    """What of Magika is used here."""

    def identify_path(self, path: Path) -> MagikaResult: ...


class IdentifyFile:
    """Loads the network once a worker; one session serves all threads (ONNX sessions may run concurrently)."""

    _magika: Identifies

    def setup(self, ctx: SetupContext) -> None:
        self._magika = load_magika()

    def predict(self, path: str) -> FileKind:
        """Identify one file; reads at most its first and last 4 KiB."""
        answer = self._magika.identify_path(Path(path))
        if not answer.ok:
            return FileKind("unreadable", "unknown", f"not read: {answer.status}", 0.0)
        kind = answer.output
        return FileKind(str(kind.label), kind.group, kind.description, answer.score)


identify = model(IdentifyFile, name="identify_file", queue=QUEUE, executor="thread")


def load_magika() -> Identifies:
    """Return Magika with the network that its package carries."""
    from magika import Magika

    onnxruntime: Any = importlib.import_module("onnxruntime")  # Any: it carries no types

    class OneThreadMagika(Magika):
        """Runs each file on the thread that asks.

        By default every call is spread over all cores: beside other calls that cost 25 % more CPU a file. Magika has no
        option for it; a version without this hook runs as by default.
        """

        def _init_onnx_session(self) -> Any:
            onnxruntime.disable_telemetry_events()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            return onnxruntime.InferenceSession(self._model_path, options, providers=["CPUExecutionProvider"])

    return OneThreadMagika()
