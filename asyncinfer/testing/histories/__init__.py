"""Random histories: long runs of commands that a store must answer as the memory store does.

They find what no hand-written test does: an index entry that outlives what it promises. `history_of(seed, length)` is
played on two stores by `first_difference`, and `shortest` cuts one that differs down to a few commands.
"""

from asyncinfer.testing.histories.commands import Command, history_of
from asyncinfer.testing.histories.differential import Difference, first_difference, shortest
from asyncinfer.testing.histories.player import Player

__all__ = ["Command", "Difference", "Player", "first_difference", "history_of", "shortest"]
