"""A history: a list of commands, each with a random source of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import NamedTuple

from asyncinfer.testing.histories import looking, sending, submitting, working
from asyncinfer.testing.histories.player import Player

Play = Callable[[Player, Random], Awaitable[object]]

_WEIGHTS: dict[Play, int] = {
    submitting.insert: 20,
    submitting.request_cancel: 6,
    submitting.delete: 2,
    submitting.purge: 1,
    submitting.pause: 1,
    submitting.resume: 2,
    working.claim: 24,
    working.extend: 5,
    working.record: 8,
    working.finish: 14,
    working.give_back: 5,
    working.observe: 2,
    working.rescue: 10,
    working.expire: 3,
    working.prune: 4,
    sending.owed: 3,
    sending.expand: 4,
    sending.due: 3,
    sending.settle: 3,
    sending.send_again: 1,
    sending.change_endpoint: 2,
    looking.find: 2,
    looking.read_events: 2,
}
PLAYS: dict[str, Play] = {play.__name__: play for play in _WEIGHTS}
WAIT = "wait"
"""The one command that no store hears: time passes."""
_WAITS = (0.001, 0.5, 1.0, 4.0, 11.0)


class Command(NamedTuple):
    """What happens next; all that it needs beyond the player is drawn from `seed`."""

    name: str
    seed: int

    def seconds(self) -> float:
        """Return how long a wait lasts."""
        return Random(self.seed).choice(_WAITS)

    async def play(self, player: Player) -> object:
        """Tell the player's store, and return what it answers; a refusal is an answer."""
        try:
            return await PLAYS[self.name](player, Random(self.seed))
        except Exception as refusal:  # noqa: BLE001  compared like any other answer
            return refusal


def history_of(seed: int, length: int) -> list[Command]:
    """Return the history of that seed: the same on every machine."""
    random = Random(seed)
    names = [*PLAYS, WAIT]
    weights = [*_WEIGHTS.values(), 12]
    return [Command(name, random.getrandbits(32)) for name in random.choices(names, weights, k=length)]
