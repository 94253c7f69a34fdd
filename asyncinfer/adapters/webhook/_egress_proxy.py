"""Read the URL of an egress proxy, which may hold its password, so that nothing shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final
from urllib.parse import unquote, urlsplit

from asyncinfer.errors import InvalidOption


@final
@dataclass(frozen=True, slots=True, repr=False)
class EgressProxy:
    """A proxy of the host's own network, through which every webhook leaves."""

    scheme: str
    host: str
    port: int
    auth: tuple[str, str] | None = None

    def __repr__(self) -> str:
        return f"<EgressProxy {self.scheme}://{self.host}:{self.port}>"


def read_proxy(url: object) -> EgressProxy:
    """Return the proxy of `http://user:password@host:port`. Raises InvalidOption, which shows nothing of it."""
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidOption(f"egress_proxy: {_EXPECTED}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidOption(f"egress_proxy: {_EXPECTED}") from None
    if parts.scheme not in ("http", "https") or not host or port is None or parts.path not in ("", "/"):
        raise InvalidOption(f"egress_proxy: {_EXPECTED}")
    auth = None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))
    return EgressProxy(parts.scheme, host, port, auth)


_EXPECTED = "expected a URL such as 'http://user:password@proxy.internal:3128', with its port"
