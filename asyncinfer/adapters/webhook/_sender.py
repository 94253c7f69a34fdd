"""The sender: leases what is owed, makes deliveries of it, posts them, settles how they went.

It runs beside any manager of the store, never in a job's slot, and several may run at once: owed events and deliveries
are leased, so each is worked on by one. A delivery whose settlement was lost is sent again, with the same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import anyio

from asyncinfer import JobManager
from asyncinfer.abc import Clock
from asyncinfer.adapters._job_answer import JobAnswers
from asyncinfer.adapters.webhook._attempts import SIGNING_SECONDS, Attempts, Posts
from asyncinfer.adapters.webhook._dispatcher import Dispatcher
from asyncinfer.adapters.webhook._endpoints import Endpoints
from asyncinfer.adapters.webhook._expander import Expander
from asyncinfer.adapters.webhook._guard import Guard
from asyncinfer.adapters.webhook._idle_connections import close_idle_connections
from asyncinfer.adapters.webhook._live import LiveEvents
from asyncinfer.adapters.webhook._secrets import Secret
from asyncinfer.adapters.webhook._settler import Settler
from asyncinfer.adapters.webhook._signing import Signer
from asyncinfer.adapters.webhook._transport import TOTAL_SECONDS, Transport
from asyncinfer.errors import InvalidOption, StoreError

POLL_SECONDS = 1.0
"""Endings of other processes are looked for this often; those of the manager beside it are told at once."""
RETRY_SECONDS = 1.0
logger = logging.getLogger("asyncinfer.webhook")


class WebhookSender:
    """Delivers the webhooks of a store: `async with JobManager(…) as manager, WebhookSender(manager, secret=…):`.

    `secret` signs what goes to URLs that came with a job; `previous_secrets` sign too while receivers change over.
    Registered endpoints have secrets of their own. `signers` sign everything besides, as `Ed25519Signer(key)`. `guard`
    says where may be called, `concurrency` how many attempts run at once. `public_base_url` is where links in the
    bodies lead, as in `create_app`. `attempt_seconds` is more than any attempt takes; a `transport` of your own with
    more than its 15 s needs more.

    Instead of entering it, await `run()` in a task group of your own. Raises InvalidOption.
    """

    def __init__(
        self,
        manager: JobManager,
        *,
        secret: Secret | str | None = None,
        previous_secrets: Sequence[Secret | str] = (),
        signers: Sequence[Signer] = (),
        guard: Guard | None = None,
        transport: Posts | None = None,
        public_base_url: str = "",
        concurrency: int = 64,
        attempt_seconds: float = TOTAL_SECONDS + SIGNING_SECONDS + 5,
    ) -> None:
        if concurrency < 1:
            raise InvalidOption(f"concurrency: expected an int >= 1, got {concurrency!r}")
        if not SIGNING_SECONDS < attempt_seconds <= 3_600:
            expected = f"seconds above {SIGNING_SECONDS:g}, those of a signer, up to 3600"
            raise InvalidOption(f"attempt_seconds: expected {expected}, got {attempt_seconds!r}")
        self.manager = manager
        self.guard: Guard = guard or Guard()
        self.transport: Posts = transport or Transport(self.guard)
        self.signers: Sequence[Signer] = tuple(signers)
        self.endpoints: Endpoints = Endpoints(
            manager, self.guard, self.transport, signers=self.signers, public_base_url=public_base_url
        )
        self._secrets = [_secret(one) for one in (secret, *previous_secrets) if one is not None]
        self._answers = JobAnswers(public_base_url.rstrip("/"), debug=False)
        self._concurrency = concurrency
        self._attempt_seconds = attempt_seconds
        self._ended = asyncio.Event()
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._runs = 0

    @property
    def is_running(self) -> bool:
        """It has been entered, or `run` is awaited."""
        return self._task is not None or self._runs > 0

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise InvalidOption("the sender is running already")
        _ = self.manager.outbox  # raises here, and not in the task, when the manager is not open
        self._task = asyncio.create_task(self.run(), name="asyncinfer-webhook-sender")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        assert task is not None
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([task])
        if not task.cancelled() and (failure := task.exception()) is not None:
            raise failure

    async def run(self) -> None:
        """Deliver until cancelled, or until the manager has closed.

        Attempts that run then are broken off, and made again, with the same id, by whoever comes next: within a minute
        and a half, when their leases end. What has been sent is settled first.
        """
        manager = self.manager
        outbox, clock = manager.outbox, manager.clock
        forget = manager.on_ending(self._ended.set)
        settler = Settler(outbox, clock, on_later=self._due.set)
        attempts = Attempts(
            outbox,
            clock,
            self.transport,
            secrets=self._secrets,
            signers=self.signers,
            seconds=self._attempt_seconds,
            settle=settler.add,
        )
        expander = Expander(manager, self._answers)
        live = LiveEvents(manager, self._answers, attempts)
        forget_live = manager.on_live(live.begin)
        self._runs += 1
        try:
            async with asyncio.TaskGroup() as group:
                dispatcher = Dispatcher(
                    group,
                    outbox,
                    clock,
                    attempts,
                    slots=self._concurrency,
                    attempt_seconds=self._attempt_seconds,
                    wake=self._due,
                )
                group.create_task(self._keep(clock, partial(self._expand, expander), self._ended))
                group.create_task(self._keep(clock, dispatcher.step, self._due))
                group.create_task(settler.run())
                group.create_task(live.run())
                group.create_task(close_idle_connections(self.transport))
        except* _ManagerClosed:
            logger.warning("the manager has closed, and the webhook sender stops")
        finally:
            self._runs -= 1
            forget()
            forget_live()
            await settler.flush()
            await self.transport.close()

    def wake(self) -> None:
        """Look at once for what is due: somebody has asked for a delivery to be sent again."""
        self._due.set()

    async def _expand(self, expander: Expander) -> float:
        if not await expander.step():
            return POLL_SECONDS
        self._due.set()
        return 0.0

    async def _keep(self, clock: Clock, step: Callable[[], Awaitable[float]], wake: asyncio.Event) -> None:
        """Do a step again and again: at once while there is more, else when woken, or after a while."""
        while True:
            wake.clear()
            if not self.manager.is_open:
                raise _ManagerClosed
            try:
                seconds = await step()
            except Exception as error:
                if not self.manager.is_open:
                    raise _ManagerClosed from None
                if isinstance(error, StoreError):
                    logger.warning("the store does not answer, trying again: %s", error)
                else:
                    logger.exception("a step of the webhook sender failed, trying again")
                await clock.sleep(RETRY_SECONDS)
            else:
                if seconds > 0:
                    await _sleep(clock, seconds, wake)


class _ManagerClosed(Exception):
    """There is nothing to deliver from any more."""


async def _sleep(clock: Clock, seconds: float, wake: asyncio.Event) -> None:
    timer = clock.call_later(seconds, wake.set)
    try:
        await wake.wait()
    finally:
        timer.cancel()


def _secret(given: Secret | str) -> Secret:
    return given if isinstance(given, Secret) else Secret.parse(given)
