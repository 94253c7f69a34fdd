"""The client for code without asyncio: it does what the flows decide."""

from __future__ import annotations

import ssl
from collections.abc import Generator, Mapping
from types import TracebackType
from typing import Self, Unpack

from asyncinfer.client import _calls
from asyncinfer.client._address import headers_of, root_of
from asyncinfer.client._calls import JobQuery
from asyncinfer.client._http import MAX_CONNECTIONS, Connections, Options, Transport
from asyncinfer.client._patience import Patience, Timing
from asyncinfer.client._shells import Shell
from asyncinfer.client._submission import RemoteOptions, require_job_id
from asyncinfer.client._sync_job import RemoteJob
from asyncinfer.client._sync_webhooks import Webhooks
from asyncinfer.wire import Health, Job, JobList, Model, Queue


class Client:
    """A service's jobs over HTTP; threads may share it. Use it as `with`, or close it.

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
        transport: Transport | None = None,
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
        self._shell = Shell(Connections(options, transport), patience)
        self._webhooks = Webhooks(self._shell)

    def __repr__(self) -> str:
        return f"<Client {self._root}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._shell.close()

    # Jobs

    def submit(
        self,
        model: str,
        input: Mapping[str, object] | None = None,  # noqa: A002  the word of the contract
        *,
        wait: float | None = None,
        **options: Unpack[RemoteOptions],
    ) -> RemoteJob:
        """Submit a job and return it: once this returns, the service has stored it.

        `input` maps the model's parameters to values that JSON can carry; bytes go as base64, arrays and tensors as
        nested lists. With `wait` the service holds the answer until the job has ended, up to 60 s.

        One idempotency key is made for the call (or is the caller's), and every error carries it as `idempotency_key`:
        whatever went wrong, the same call with that key neither loses the job nor makes a second one.

        Raises InvalidInput, InvalidOption, UnknownModel, TooLarge, QueueFull, StorageFull, IdempotencyConflict, and
        JobExpired (the key or id belonged to a pruned job).
        """
        done = self._shell.run(_calls.submit(model, input, wait, options, self._shell.patience))
        return RemoteJob(
            self._shell, done.job.id, record=done.job, idempotency_key=done.key, is_existing=done.is_existing
        )

    def job(self, job_id: str) -> RemoteJob:
        """Return a job by its id. Looks nothing up: an unknown id shows when the job is used."""
        return RemoteJob(self._shell, require_job_id(job_id))

    def jobs(self, *, limit: int | None = None, **query: Unpack[JobQuery]) -> Generator[Job, None, None]:
        """Yield jobs without outputs, newest first, at most `limit` of them, a page at a time."""
        return self._shell.iterate(_calls.jobs(query, limit, self._shell.patience))

    def page(
        self, *, after: str | None = None, before: str | None = None, limit: int = 50, **query: Unpack[JobQuery]
    ) -> JobList:
        """Return one page of `jobs`; pass its `next_cursor` as `after` for the next. `limit` is 1 to 200."""
        return self._shell.run(_calls.page(query, self._shell.patience, after=after, before=before, limit=limit))

    # The service

    @property
    def webhooks(self) -> Webhooks:
        """The caller's registered endpoints and the log of deliveries, where the service sends webhooks."""
        return self._webhooks

    def models(self) -> list[Model]:
        """Return the models that can be submitted."""
        return self._shell.run(_calls.models(self._shell.patience))

    def model(self, name: str) -> Model:
        """Return a model: the JSON Schemas of its input and output, its limits. Raises UnknownModel."""
        return self._shell.run(_calls.model(name, self._shell.patience))

    def queue(self, name: str) -> Queue:
        """Return how long a queue is, and whether it has room."""
        return self._shell.run(_calls.queue(name, self._shell.patience))

    def purge(self, queue: str) -> list[str]:
        """Cancel every waiting job of the queue; return their ids. It is not repeated after a lost answer."""
        return self._shell.run(_calls.purge(queue, self._shell.patience))

    def health(self) -> Health:
        """Ask once whether the service is ready, and if not, why."""
        return self._shell.run(_calls.health(self._shell.patience))
