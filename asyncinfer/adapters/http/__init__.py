"""The HTTP contract over a manager: submit, poll, wait, stream, cancel, as an ASGI application. Needs the extra `http`.

app = create_app(manager, public_base_url="https://api.example.com/inference", authenticate=tokens)
"""

from __future__ import annotations

from asyncinfer.errors import MissingExtra

try:
    from asyncinfer.adapters.http._access import Action, Authenticate, Authorize, BearerTokens, Principal
    from asyncinfer.adapters.http._app import create_app
    from asyncinfer.adapters.http._bounds import Bounds
    from asyncinfer.adapters.http._rate_limit import RateLimit
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] not in ("starlette", "prometheus_client"):
        raise
    raise MissingExtra(f"the HTTP adapter needs {_error.name}: pip install 'asyncinfer[http]'") from _error

__all__ = [
    "Action",
    "Authenticate",
    "Authorize",
    "BearerTokens",
    "Bounds",
    "Principal",
    "RateLimit",
    "create_app",
]
