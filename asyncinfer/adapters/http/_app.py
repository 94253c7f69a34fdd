"""create_app: the contract as one ASGI application."""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from asyncinfer import JobManager
from asyncinfer.adapters.http._access import Authenticate, Authorize, Principal
from asyncinfer.adapters.http._bounds import Bounds
from asyncinfer.adapters.http._call import Answer, Call, ClientGone, Responds, Service, problem_answer
from asyncinfer.adapters.http._headers import header_lines
from asyncinfer.adapters.http._operation import Method, Operation
from asyncinfer.adapters.http._operations import OPERATIONS
from asyncinfer.adapters.http._problems import ProblemRaised, problem, problem_of
from asyncinfer.adapters.http._rate_limit import RateLimit, RateLimiter
from asyncinfer.adapters.prometheus import PrometheusTelemetry
from asyncinfer.errors import AsyncinferError, InvalidOption

if TYPE_CHECKING:
    from asyncinfer.adapters.webhook import WebhookSender

logger = logging.getLogger("asyncinfer.http")


def create_app(
    manager: JobManager,
    *,
    public_base_url: str,
    authenticate: Authenticate | None = None,
    authorize: Authorize | None = None,
    allow_anonymous: bool = False,
    rate_limit: RateLimit | None = None,
    metrics: PrometheusTelemetry | None = None,
    webhooks: WebhookSender | None = None,
    bounds: Bounds | None = None,
    debug: bool = False,
) -> Starlette:
    """Return the HTTP contract over `manager`, to be run by itself or mounted under any prefix.

    `public_base_url` is where clients find it, the prefix included: links are made from it, never from a request's
    Host. Run by itself, its lifespan opens and closes the manager and `webhooks`; mounted, the outer lifespan has to.
    `authenticate` says who asks; without it `allow_anonymous=True` has to be written out, and everybody is the unnamed
    owner.
    `authorize` may forbid an action. `rate_limit` bounds each principal's requests. `metrics` is what `/metrics` shows;
    by default of its own, which watches `manager` from now on. `webhooks` is the sender beside the manager: with it
    jobs may ask for webhooks, and the routes for endpoints and deliveries answer. `debug` shows tracebacks of models
    to their callers. Raises InvalidOption.
    """
    if authenticate is None and not allow_anonymous:
        raise InvalidOption("authenticate: expected who asks, or allow_anonymous=True written out")
    if authenticate is not None and allow_anonymous:
        raise InvalidOption("allow_anonymous: expected False beside authenticate")
    metrics = metrics or PrometheusTelemetry()
    manager.observe(metrics)
    service = Service(
        manager,
        base_url=_checked_url(public_base_url),
        authenticate=authenticate,
        authorize=authorize,
        limiter=None if rate_limit is None else RateLimiter(rate_limit),
        metrics=metrics,
        webhooks=webhooks,
        bounds=bounds or Bounds(),
        debug=debug,
    )

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            if not manager.is_open:
                await stack.enter_async_context(manager)
            if webhooks is not None and not webhooks.is_running:
                await stack.enter_async_context(webhooks)
            yield

    app = Starlette(
        routes=_routes(service),
        lifespan=lifespan,
        exception_handlers={404: _nothing_here},
    )
    app.router.redirect_slashes = False  # it would redirect to whatever Host the request names
    return app


def _routes(service: Service) -> list[BaseRoute]:
    return [Route(path, endpoint=Resource(service, methods)) for path, methods in OPERATIONS.items()]


class Resource:
    """One path: dispatches to the operation of the method, and turns every error into a problem."""

    def __init__(self, service: Service, operations: Mapping[Method, Operation]) -> None:
        self._service = service
        self._operations: dict[str, Operation] = {method: operations[method] for method in operations}
        if "GET" in operations:
            self._operations["HEAD"] = operations["GET"]
        self._allow = ", ".join([*self._operations, "OPTIONS"]).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_head = scope["method"] == "HEAD"
        call = Call(self._service, scope, receive, header_lines(scope["headers"]))
        try:
            responds = await self._responds(call)
            if isinstance(responds, Answer) and call.rate_headers:
                responds = Answer(responds.status, responds.body, [*responds.headers, *call.rate_headers])
            await responds.send(send, is_head=is_head)
        except (ClientGone, OSError):
            return  # nobody is there to be answered
        except Exception as error:  # noqa: BLE001  a server breaks the connection of an answer that is not ended
            _log_failure(scope, error)

    async def _responds(self, call: Call) -> Responds:
        try:
            return await self._answer(call)
        except ProblemRaised as raised:
            return problem_answer(raised.document, raised.headers)
        except ClientGone:
            raise
        except AsyncinferError as error:
            known = problem_of(error)
            return problem_answer(known.document, known.headers)
        except Exception as error:  # noqa: BLE001  it is logged, and answered with 500
            _log_failure(call.scope, error)
            failed = problem("internal-error")
            return problem_answer(failed.document, failed.headers)

    async def _answer(self, call: Call) -> Responds:
        service = self._service
        service.bounds.check_headers(call.scope["headers"])
        operation = self._operations.get(call.scope["method"])
        if operation is None:
            if call.scope["method"] == "OPTIONS":
                return Answer(204, b"", [(b"allow", self._allow)])
            raise problem("method-not-allowed", headers=[(b"allow", self._allow)])
        if not operation.is_public:
            if not service.manager.is_open:
                raise problem("draining", "the manager is not open", retry_after=1)
            await _identify(call)
        return await operation.handler(call)


async def _identify(call: Call) -> None:
    """Find out who asks and give the call their jobs. Raise a Problem."""
    service = call.service
    if service.authenticate is None:
        call.owned = service.jobs_of("")
    else:
        principal = await service.authenticate(Request(call.scope))
        if principal is None:
            raise problem("unauthorized", headers=[(b"www-authenticate", b"Bearer")])
        if not isinstance(principal, Principal):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
            raise TypeError(f"authenticate: expected a Principal or None, got {type(principal).__name__}")
        call.principal = principal
        call.owned = service.jobs_of(principal.owner)
    if service.limiter is not None:
        call.rate_headers = service.limiter.take(call.owned.owner)


def _log_failure(scope: Scope, error: Exception) -> None:
    """Say where it failed. Its text may hold what a client sent, a token even: that is for DEBUG alone."""
    where = "".join(traceback.format_tb(error.__traceback__))
    route = scope["route"].path if "route" in scope else "a route"
    logger.error("a request to %s failed with %s at\n%s", route, type(error).__qualname__, where)
    logger.debug("a request to %s failed", route, exc_info=error)


async def _nothing_here(request: Request, error: Exception) -> Response:
    nothing = problem("not-found").document
    return Response(msgspec.json.encode(nothing), nothing.status, media_type="application/problem+json")


def _checked_url(url: str) -> str:
    """Return the URL without a slash at its end. Raise InvalidOption."""
    parts = urlsplit(url)
    is_plain = re.fullmatch(r"[!-~]+", url) is not None and not (parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_plain:
        raise InvalidOption(
            "public_base_url: expected an http or https URL without query, fragment and user, as"
            " 'https://api.example.com/inference'"
        )
    return url.rstrip("/")
