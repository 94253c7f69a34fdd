"""What a model takes of the machine, and what all models together may take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from msgspec import Struct

from asyncinfer.errors import InvalidOption

_MOST_BYTES = 2**53


class Resources(Struct, frozen=True, kw_only=True):
    """What one model takes. Nothing is measured: the numbers are yours. Raises InvalidOption."""

    slots: int = 1
    """How many of the manager's `concurrency` (where that is one int) each running call takes, 1 to 10,000."""
    memory: int = 0
    """Bytes of the host's memory that one loaded copy takes: one in threads, one a worker process. 0 to 2**53."""
    device_memory: int = 0
    """Bytes of a device's memory that one loaded copy takes, 0 to 2**53."""
    device_share: float = 0.0
    """How much of a device each running call keeps busy, 0 to 1: the calls on one device sum up to at most 1."""
    pinned: bool = False
    """Once loaded it stays, whoever needs its memory."""

    def __post_init__(self) -> None:
        _require_whole("Resources.slots", self.slots, 1, 10_000)
        _require_whole("Resources.memory", self.memory, 0, _MOST_BYTES)
        _require_whole("Resources.device_memory", self.device_memory, 0, _MOST_BYTES)
        _require_number("Resources.device_share", self.device_share, 0, 1)
        if not isinstance(self.pinned, bool):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
            raise InvalidOption(f"Resources.pinned: expected a bool, got {type(self.pinned).__name__}")


class MemoryBudget(Struct, frozen=True, kw_only=True):
    """What the loaded models of a manager may take together, by their `Resources`. Raises InvalidOption."""

    host: int | None = None
    """Bytes of the host's memory; None is no bound."""
    device: int | Mapping[int, int] | None = None
    """Bytes of each device's memory, or by the device's index; a device without a number has no bound."""
    idle_seconds: float = 30.0
    """A loaded model may be unloaded, for another whose jobs wait, when it has run nothing for so long. 0 to a day."""

    def __post_init__(self) -> None:
        if self.host is not None:
            _require_whole("MemoryBudget.host", self.host, 0, _MOST_BYTES)
        if isinstance(self.device, Mapping):
            for index, size in cast("Mapping[object, object]", self.device).items():
                _require_whole("MemoryBudget.device: an index", index, 0, 1_000)
                _require_whole(f"MemoryBudget.device[{index}]", size, 0, _MOST_BYTES)
        elif self.device is not None:
            _require_whole("MemoryBudget.device", self.device, 0, _MOST_BYTES)
        _require_number("MemoryBudget.idle_seconds", self.idle_seconds, 0, 86_400)


def _require_whole(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidOption(f"{name}: expected an int from {low} to {high}, got {value!r}")


def _require_number(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InvalidOption(f"{name}: expected a number from {low:g} to {high:g}, got {value!r}")
