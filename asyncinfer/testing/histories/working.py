"""The commands of workers and observers."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from msgspec.structs import replace

from asyncinfer.abc import (
    Claim,
    ClaimRequest,
    ErrorCode,
    Finish,
    JobError,
    Lease,
    Limits,
    ModelRoom,
    Progress,
    Record,
)
from asyncinfer.lifecycle import FinishOutcome
from asyncinfer.testing.histories.comparable import in_any_order
from asyncinfer.testing.histories.player import Player, chance, some, some_bytes

_WORKERS = ("worker-1", "worker-2")
_OUTCOMES: tuple[FinishOutcome, ...] = ("succeeded", "succeeded", "failed", "canceled", "retry", "retry")
_CODES: tuple[ErrorCode, ...] = ("model_error", "time_limit")
_LEASE = 60_000
_LIMITS = Limits(events_per_job=3)


async def claim(player: Player, random: Random) -> object:
    requests = [_request(player, random, _WORKERS[0])]
    if chance(random, 0.3):
        # Another worker, or another pool of the same one.
        requests.append(_request(player, random, random.choice(_WORKERS)))
        requests = [replace(request, is_idle=requests[0].is_idle) for request in requests]
    answers = await player.store.claim(requests)
    player.claims += [claimed for answer in answers for claimed in answer.claims]
    # How many expired heads a claim meets depends on how far it looked; it and the sweep behind it end all of them.
    ended = [key for answer in answers for key in answer.ended] + list(await player.store.expire(1_000))
    answers = [replace(answer, ended=()) for answer in answers]
    if len(answers) > 1:
        # Whether a solo job waits may be said before or after the second request took it.
        answers = [replace(answer, is_solo_waiting=False) for answer in answers]
    return answers, in_any_order(ended)


async def extend(player: Player, random: Random) -> object:
    leases = [_lease(claimed, random) for claimed in some(random, player.claims, 3)]
    return await player.store.extend(random.choice(_WORKERS), leases, _LEASE)


async def record(player: Player, random: Random) -> object:
    if _tells_again(random, player.records):
        await player.store.record([random.choice(player.records[-9:])], _LIMITS)
        return None
    items = [_record(claimed, random) for claimed in some(random, player.claims, 2)]
    player.records += items
    return [await player.store.record(items, _LIMITS) for _ in range(_times(random))]


async def finish(player: Player, random: Random) -> object:
    if _tells_again(random, player.finishes):
        await player.store.finish([random.choice(player.finishes[-9:])])
        return None
    items = [_finish(player, claimed, random) for claimed in some(random, player.claims, 3)]
    player.finishes += items
    return [await player.store.finish(items) for _ in range(_times(random))]


async def give_back(player: Player, random: Random) -> object:
    if _tells_again(random, player.given_back):
        await player.store.give_back(*random.choice(player.given_back[-9:]))
        return None
    write = (tuple(_lease(claimed, random) for claimed in some(random, player.claims, 2)), random.randbytes(8))
    player.given_back.append(write)
    return [await player.store.give_back(*write) for _ in range(_times(random))]


def _tells_again(random: Random, earlier: Sequence[object]) -> bool:
    """Tell whether to repeat an earlier write. How long its answer is remembered is the store's own matter: only that
    it changes nothing is compared.
    """
    return bool(earlier) and chance(random, 0.12)


def _times(random: Random) -> int:
    """Say how often a write is sent; its immediate repeat, after a lost reply, is answered as it was."""
    return 2 if chance(random, 0.15) else 1


async def observe(player: Player, random: Random) -> object:
    player.observed = list(await player.store.leases(None, 1_000))
    return player.observed


async def rescue(player: Player, random: Random) -> object:
    if not player.observed or chance(random, 0.3):
        await observe(player, random)
    seen = some(random, player.observed, 2)
    if chance(random, 0.3):
        killed = JobError(code="worker_lost", message="killed by SIGSEGV", traceback="Fatal Python error")
        seen = [replace(lease, error=killed) for lease in seen]
    return await player.store.rescue(seen) if seen else None


async def expire(player: Player, random: Random) -> object:
    return in_any_order(await player.store.expire(1_000))


async def prune(player: Player, random: Random) -> object:
    # How many rows that was is the store's own matter; that something was forgotten is not.
    return await player.store.prune(1_000, random.choice((0, 3_000, 20_000))) > 0


def _request(player: Player, random: Random, worker: str) -> ClaimRequest:
    models = random.sample(player.models, random.randint(1, len(player.models)))
    is_idle = chance(random, 0.5)
    # An idle worker has room and slots: nothing of it runs.
    least = 1 if is_idle else 0
    rooms = tuple(
        ModelRoom(
            model,
            random.randint(least, 4),
            None,
            random.choice((1, 1, 3)),
            random.choice((None, None, 4)),
            random.choice((0, 0, 1_000, 5_000)),
        )
        for model in models
    )
    slots = random.randint(least, 4)
    return ClaimRequest(worker, _LEASE, slots, rooms, is_idle, is_isolated=chance(random, 0.2))


def _ref(claimed: Claim, random: Random) -> object:
    return None if chance(random, 0.2) else claimed.ref


def _lease(claimed: Claim, random: Random) -> Lease:
    return Lease(claimed.owner, claimed.id, claimed.attempt, _ref(claimed, random))


def _record(claimed: Claim, random: Random) -> Record:
    told = Record(claimed.owner, claimed.id, claimed.attempt, ref=_ref(claimed, random))
    if chance(random, 0.5):
        told = replace(told, progress=Progress(fraction=random.choice((0.0, 0.5, 1.0)), message="on its way"))
    if chance(random, 0.5):
        told = replace(told, output=tuple(random.randbytes(3) for _ in range(random.randint(1, 3))))
    if chance(random, 0.4):
        told = replace(told, checkpoint=some_bytes(random))
    if chance(random, 0.5):
        told = replace(told, move_id=random.randbytes(8))
    return told


def _finish(player: Player, claimed: Claim, random: Random) -> Finish:
    outcome = random.choice(_OUTCOMES)
    ending = Finish(claimed.owner, claimed.id, claimed.attempt, outcome, random.randbytes(8), ref=_ref(claimed, random))
    if outcome == "succeeded":
        return replace(ending, result=some_bytes(random))
    if outcome == "canceled":
        return ending
    code = random.choice(_CODES)
    ending = replace(ending, error=JobError(code=code, message="it raised", attempt=claimed.attempt))
    if outcome == "retry" and chance(random, 0.6):
        ending = replace(ending, not_before=player.clock.now() + random.choice((0, 1_000, 8_000)))
    return ending
