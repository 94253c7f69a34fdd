"""How busy running calls keep each device, by what their models say."""

from __future__ import annotations

from collections.abc import Sequence

_ROUNDING = 1e-9
"""Ten calls of a tenth fill a device."""


class Shares:
    """The sum of the shares of running calls, by device. An executor that names no device uses device 0."""

    def __init__(self, taken: dict[int, float] | None = None) -> None:
        self._taken = taken or {}

    def copy(self) -> Shares:
        return Shares(dict(self._taken))

    def fits(self, share: float, devices: Sequence[int]) -> bool:
        """Tell whether some device has so much left."""
        return min(self._taken.get(device, 0.0) for device in devices or (0,)) + share <= 1 + _ROUNDING

    def take(self, share: float, devices: Sequence[int]) -> int:
        """Count a call on the device that is the least busy, and return that."""
        device = min(devices or (0,), key=lambda one: self._taken.get(one, 0.0))
        self._taken[device] = self._taken.get(device, 0.0) + share
        return device

    def give_back(self, share: float, device: int) -> None:
        left = self._taken[device] - share
        if left > _ROUNDING:
            self._taken[device] = left
        else:
            del self._taken[device]
