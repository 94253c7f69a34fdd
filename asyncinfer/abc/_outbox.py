"""The outbox contract: what is owed to subscribers, and how its deliveries went.

The store writes an owed event in the same step as the move that ends a job. A sender expands each into deliveries,
sends them and settles them; it needs nothing else of the store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from asyncinfer._job import JobKey, Status, Subscription, shown

DeliveryStatus = Literal["pending", "delivered", "exhausted", "disabled"]


class Owed(Struct, frozen=True):
    """A terminal move that subscribers must hear of. `n` grows in the order of the moves."""

    n: int
    owner: str
    id: str
    status: Status
    at: int
    revision: int
    subscriptions: tuple[Subscription, ...]


class NewDelivery(Struct, frozen=True, kw_only=True):
    """One event for one target. `id` is the same for every attempt: the receiver's key against doubles."""

    id: str
    target: str
    event: str
    body: bytes
    """The exact bytes to send, stored once."""
    endpoint: str | None = None
    secret: str = ""
    due_at: int = 0

    def __repr__(self) -> str:
        return shown(self, "target", "body", "secret")


class DeliveryAttempt(Struct, frozen=True, kw_only=True):
    """One line of the delivery log."""

    at: int
    kind: Literal["delivered", "dns", "blocked", "connect", "tls", "timeout", "status", "redirect"]
    status_code: int | None = None
    latency: int = 0
    """Milliseconds."""
    detail: str = ""


class Delivery(Struct, frozen=True, kw_only=True):
    """A delivery as it stands. `lease_token` is the fence of the sender that holds it."""

    id: str
    owner: str
    job_id: str
    target: str
    event: str
    body: bytes
    status: DeliveryStatus
    attempts: int
    """All that were made."""
    due_at: int
    created_at: int
    endpoint: str | None = None
    secret: str = ""
    last: DeliveryAttempt | None = None
    lease_token: int = 0
    attempts_before: int = 0
    """Of `attempts`, those made before it was last asked for again: a schedule counts the others."""

    def __repr__(self) -> str:
        return shown(self, "target", "body", "secret")


class Settlement(Struct, frozen=True, kw_only=True):
    """How an attempt at a delivery went and what follows: `due_at` when it stays pending."""

    id: str
    lease_token: int
    status: DeliveryStatus
    attempt: DeliveryAttempt
    due_at: int | None = None


class Endpoint(Struct, frozen=True, kw_only=True):
    """A registered receiver. `secrets` are current first, then previous; `settings` belong to the sender."""

    id: str
    owner: str
    target: str
    events: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    is_enabled: bool = True
    created_at: int = 0
    revision: int = 1
    settings: bytes = b""

    def __repr__(self) -> str:
        return shown(self, "target", "secrets", "settings")


class DeliveryFilter(Struct, frozen=True, kw_only=True):
    """Selects deliveries of an owner; all that is given must hold."""

    job_id: str | None = None
    endpoint: str | None = None
    status: DeliveryStatus | None = None
    since: int | None = None
    until: int | None = None


class Outbox(ABC):
    """What a store owes to subscribers. Leases and fences work as for jobs; times are integer milliseconds."""

    @abstractmethod
    async def owed(self, limit: int, lease: int) -> Sequence[Owed]:
        """Lease owed events, oldest first; one that is not expanded within `lease` is offered again."""

    @abstractmethod
    async def expand(self, items: Sequence[tuple[Owed, Sequence[NewDelivery]]]) -> None:
        """Replace each owed event by its deliveries, in one step. Repeating it adds nothing."""

    @abstractmethod
    async def due(self, limit: int, lease: int, *, skip: Sequence[str] = ()) -> Sequence[Delivery]:
        """Lease pending deliveries whose time has come, oldest first, but none to the targets in `skip`."""

    @abstractmethod
    async def settle(self, items: Sequence[Settlement]) -> Sequence[bool]:
        """Write how attempts went, with their log line; False when the lease token no longer holds."""

    @abstractmethod
    async def next_due_at(self) -> int | None:
        """Return when the next owed event or pending delivery is due; None when nothing is owed."""

    @abstractmethod
    async def deliveries(
        self, owner: str | None, matching: DeliveryFilter, *, after: str | None = None, limit: int = 50
    ) -> Sequence[Delivery]:
        """Return deliveries without bodies, newest id first, behind the id `after`."""

    @abstractmethod
    async def delivery(self, owner: str, delivery_id: str) -> Delivery | None:
        """Return one delivery without its body; None for an unknown one."""

    @abstractmethod
    async def log(self, owner: str, delivery_id: str) -> Sequence[DeliveryAttempt]:
        """Return the attempts of one delivery, oldest first; empty for an unknown one."""

    @abstractmethod
    async def redeliver(self, owner: str, delivery_ids: Sequence[str], due_at: int) -> Sequence[bool]:
        """Make ended deliveries pending again, with the same id and body; False for an unknown one.

        Each keeps its log and its `attempts`, which become its `attempts_before`. One that is pending stays as it is.
        """

    @abstractmethod
    async def recover(self, owner: str, endpoint: str, since: int, until: int, due_at: int) -> int:
        """Redeliver the endpoint's exhausted and disabled deliveries made in that time; return how many."""

    @abstractmethod
    async def put_endpoint(self, endpoint: Endpoint, *, because: str = "", notices: Sequence[NewDelivery] = ()) -> bool:
        """Store an endpoint; False when its `revision` is not the stored one plus 1 (1 for a new one).

        In the same step the `notices` become deliveries of the job of `because`, a delivery of the same owner: a known
        id adds nothing, and where `because` is forgotten nothing is added.
        """

    @abstractmethod
    async def endpoints(self, owner: str | None, ids: Sequence[str] | None = None) -> Sequence[Endpoint]:
        """Return endpoints by id, or all of the owner."""

    @abstractmethod
    async def delete_endpoint(self, owner: str, endpoint_id: str) -> bool:
        """Forget an endpoint; its pending deliveries become `disabled`. False for an unknown one."""

    @abstractmethod
    async def of_job(self, key: JobKey) -> Sequence[Delivery]:
        """Return the deliveries of one job without bodies."""
