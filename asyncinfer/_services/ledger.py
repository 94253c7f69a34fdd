"""Whether models fit into the memory budget together, and which must go for another: plain arithmetic."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from asyncinfer._resources import MemoryBudget, Resources

Need = Mapping[str, int]
"""Bytes by place: `host`, `device 0`, …; only places that have a bound."""
NO_NEED: Need = {}
T = TypeVar("T", bound=Hashable)


class Ledger:
    """The bounds of one manager."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget

    def need(self, resources: Resources, *, copies: int, devices: Sequence[int]) -> Need:
        """Return what all copies of a model take; on devices they are spread evenly, on device 0 by default."""
        need = {"host": resources.memory * copies}
        on_each = math.ceil(copies / max(1, len(devices)))
        for device in devices or (0,):
            need[f"device {device}"] = resources.device_memory * on_each
        return {place: size for place, size in need.items() if size and self.bound(place) is not None}

    def bound(self, place: str) -> int | None:
        """Return the bytes of a place, None where nothing bounds it."""
        if place == "host":
            return self._budget.host
        device = self._budget.device
        return device.get(int(place.removeprefix("device "))) if isinstance(device, Mapping) else device

    def excess(self, needs: Iterable[Need]) -> Need:
        """Return by how much these needs together are above the bounds, by place; nothing when they fit."""
        total: dict[str, int] = {}
        for need in needs:
            for place, size in need.items():
                total[place] = total.get(place, 0) + size
        over = {place: size - (self.bound(place) or 0) for place, size in total.items()}
        return {place: size for place, size in over.items() if size > 0}

    def victims(self, need: Need, kept: Iterable[Need], candidates: Mapping[T, Need]) -> Sequence[T] | None:
        """Return which of the candidates must go for `need` to fit, in their order; None when that is not enough."""
        stay = dict(candidates)
        taken = [need, *kept]
        gone: list[T] = []
        for candidate, its_need in candidates.items():
            excess = self.excess([*taken, *stay.values()])
            if not excess:
                break
            if excess.keys() & its_need.keys():
                gone.append(candidate)
                del stay[candidate]
        return None if self.excess([*taken, *stay.values()]) else gone
