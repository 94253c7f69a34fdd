"""The commands of a webhook sender and of whoever looks after its endpoints."""

from __future__ import annotations

from random import Random

from asyncinfer.abc import DeliveryAttempt, DeliveryStatus, Endpoint, NewDelivery, Owed, Settlement
from asyncinfer.testing.histories.comparable import in_any_order
from asyncinfer.testing.histories.player import Player, chance, recent, some

_STATUSES: tuple[DeliveryStatus, ...] = ("delivered", "pending", "exhausted", "disabled")
_ENDPOINTS = ("ep_1", "ep_2")


async def owed(player: Player, random: Random) -> object:
    leased = await player.store.outbox.owed(1_000, random.choice((1_000, 60_000)))
    # Moves of one step have no order among themselves; what a later command draws must not depend on it.
    player.owed += sorted(leased, key=lambda event: (event.at, event.owner, event.id, event.revision))
    return in_any_order(leased)


async def expand(player: Player, random: Random) -> None:
    again = recent(random, player.expanded)
    if again is None or chance(random, 0.85):
        event = recent(random, player.owed)
        if event is None:
            return
        again = (event, _deliveries(player, event, random))
        player.expanded.append(again)
    await player.store.outbox.expand([again])


async def due(player: Player, random: Random) -> object:
    skip = [random.choice(player.owed).subscriptions[0].target] if player.owed and chance(random, 0.2) else []
    leased = await player.store.outbox.due(1_000, random.choice((1_000, 60_000)), skip=skip)
    player.leased += sorted(leased, key=lambda delivery: delivery.id)
    return in_any_order(leased)


async def settle(player: Player, random: Random) -> object:
    now = player.clock.now()
    items: list[Settlement] = []
    for sent in some(random, player.leased, 2):
        status = random.choice(_STATUSES)
        line = DeliveryAttempt(at=now, kind="timeout", latency=random.randint(0, 9))
        due_at = now + random.choice((0, 2_000)) if status == "pending" else None
        items.append(Settlement(id=sent.id, lease_token=sent.lease_token, status=status, attempt=line, due_at=due_at))
    return await player.store.outbox.settle(items) if items else None


async def send_again(player: Player, random: Random) -> object:
    now, owner = player.clock.now(), random.choice(player.owners)
    if chance(random, 0.5):
        return await player.store.outbox.recover(owner, random.choice(_ENDPOINTS), now - 10_000, now, now)
    wanted = some(random, player.deliveries, 2)
    return await player.store.outbox.redeliver(owner, wanted, now) if wanted else None


async def change_endpoint(player: Player, random: Random) -> object:
    owner, name = random.choice(player.owners), random.choice(_ENDPOINTS)
    if chance(random, 0.3):
        return await player.store.outbox.delete_endpoint(owner, name)
    revision = random.randint(1, 2)
    endpoint = Endpoint(id=name, owner=owner, target="https://one.example.com/", events=(), revision=revision)
    return await player.store.outbox.put_endpoint(endpoint)


def _deliveries(player: Player, event: Owed, random: Random) -> tuple[NewDelivery, ...]:
    made = tuple(
        NewDelivery(
            id=f"dlv-{len(player.deliveries) + number:04d}",
            target=subscription.target,
            event=f"job.{event.status}",
            body=event.id.encode(),
            endpoint=random.choice((None, *_ENDPOINTS)),
            due_at=player.clock.now() + random.choice((0, 0, 2_000)),
        )
        for number, subscription in enumerate(event.subscriptions)
    )
    player.deliveries += [delivery.id for delivery in made]
    return made
