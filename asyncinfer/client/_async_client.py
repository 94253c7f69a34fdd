"""The client for asyncio: it does what the flows decide."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Self, Unpack

from asyncinfer.client import _calls
from asyncinfer.client._address import headers_of, root_of
from asyncinfer.client._async_job import AsyncRemoteJob
from asyncinfer.client._async_webhooks import AsyncWebhooks
from asyncinfer.client._calls import JobQuery
from asyncinfer.client._http import MAX_CONNECTIONS, AsyncConnections, AsyncTransport, Options
from asyncinfer.client._patience import Patience, Timing
from asyncinfer.client._shells import AsyncShell
from asyncinfer.client._submission import RemoteOptions, require_job_id
from asyncinfer.wire import Health, Job, JobList, Model, Queue


class AsyncClient:
    """A service's jobs over HTTP, for asyncio. Use it as `async with`, or close it.

    `base_url` is the service's root (`https://api.example.com/inference`); `token` goes out as a bearer token,
    `headers` with every request. Seconds: one call, with all its repeats, takes at most `timeout` (and what it asks the
    service to wait); one try at most `attempt_timeout` without hearing anything, `connect_timeout` for its connection.
    A call is sent again at most `max_retries` times. `result`, `events` and `stream` wait as long as it takes: they
    give up only when the service has not answered for `reconnect_for`. An answer that keeps flowing is never cut.

    Redirects are not followed, and proxies and certificates of the environment not used unless `trust_env`. `transport`
    is an httpx transport and `timing` the clock, for tests.

    Beside what each call names, every one may raise ConnectionLost, ServiceFailed, Unauthorized, Forbidden,
    UnexpectedAnswer, Refused (QuotaExceeded, Draining, …) and StoreUnavailable. Raises InvalidOption at once.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        attempt_timeout: float = 20.0,
        connect_timeout: float = 5.0,
        reconnect_for: float = 300.0,
        max_retries: int = 5,
        max_connections: int = MAX_CONNECTIONS,
        verify: ssl.SSLContext | bool = True,
        trust_env: bool = False,
        transport: AsyncTransport | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._root = root_of(base_url)
        patience = Patience(
            timeout=timeout,
            attempt_timeout=attempt_timeout,
            connect_timeout=connect_timeout,
            reconnect_for=reconnect_for,
            max_retries=max_retries,
            timing=timing or Timing(),
        )
        options = Options(
            self._root, headers_of(token, headers), verify=verify, trust_env=trust_env, connections=max_connections
        )
        self._shell = AsyncShell(AsyncConnections(options, transport), patience)
        self._webhooks = AsyncWebhooks(self._shell)

    def __repr__(self) -> str:
        return f"<AsyncClient {self._root}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._shell.close()

    # Jobs

    async def submit(
        self,
        model: str,
        input: Mapping[str, object] | None = None,  # noqa: A002  the word of the contract
        *,
        wait: float | None = None,
        **options: Unpack[RemoteOptions],
    ) -> AsyncRemoteJob:
        """Submit a job and return it: once this returns, the service has stored it.

        `input` maps the model's parameters to values that JSON can carry; bytes go as base64, arrays and tensors as
        nested lists. With `wait` the service holds the answer until the job has ended, up to 60 s.

        One idempotency key is made for the call (or is the caller's), and every error carries it as `idempotency_key`:
        whatever went wrong, the same call with that key neither loses the job nor makes a second one.

        Raises InvalidInput, InvalidOption, UnknownModel, TooLarge, QueueFull, StorageFull, IdempotencyConflict, and
        JobExpired (the key or id belonged to a pruned job).
        """
        done = await self._shell.run(_calls.submit(model, input, wait, options, self._shell.patience))
        return AsyncRemoteJob(
            self._shell, done.job.id, record=done.job, idempotency_key=done.key, is_existing=done.is_existing
        )

    def job(self, job_id: str) -> AsyncRemoteJob:
        """Return a job by its id. Looks nothing up: an unknown id shows when the job is used."""
        return AsyncRemoteJob(self._shell, require_job_id(job_id))

    def jobs(self, *, limit: int | None = None, **query: Unpack[JobQuery]) -> AsyncGenerator[Job, None]:
        """Yield jobs without outputs, newest first, at most `limit` of them, a page at a time."""
        return self._shell.iterate(_calls.jobs(query, limit, self._shell.patience))

    async def page(
        self, *, after: str | None = None, before: str | None = None, limit: int = 50, **query: Unpack[JobQuery]
    ) -> JobList:
        """Return one page of `jobs`; pass its `next_cursor` as `after` for the next. `limit` is 1 to 200."""
        return await self._shell.run(_calls.page(query, self._shell.patience, after=after, before=before, limit=limit))

    # The service

    @property
    def webhooks(self) -> AsyncWebhooks:
        """The caller's registered endpoints and the log of deliveries, where the service sends webhooks."""
        return self._webhooks

    async def models(self) -> list[Model]:
        """Return the models that can be submitted."""
        return await self._shell.run(_calls.models(self._shell.patience))

    async def model(self, name: str) -> Model:
        """Return a model: the JSON Schemas of its input and output, its limits. Raises UnknownModel."""
        return await self._shell.run(_calls.model(name, self._shell.patience))

    async def queue(self, name: str) -> Queue:
        """Return how long a queue is, and whether it has room."""
        return await self._shell.run(_calls.queue(name, self._shell.patience))

    async def purge(self, queue: str) -> list[str]:
        """Cancel every waiting job of the queue; return their ids. It is not repeated after a lost answer."""
        return await self._shell.run(_calls.purge(queue, self._shell.patience))

    async def health(self) -> Health:
        """Ask once whether the service is ready, and if not, why."""
        return await self._shell.run(_calls.health(self._shell.patience))
