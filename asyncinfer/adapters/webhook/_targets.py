"""Read a webhook's URL and judge its form, before anybody is asked where its host is."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, NoReturn, final

from asyncinfer.adapters.webhook._addresses import AllowedNetworks
from asyncinfer.adapters.webhook._host_names import read_address, read_name
from asyncinfer.adapters.webhook._url_rejected import RejectedKind, UrlRejected

LONGEST_URL = 2_048
"""Characters."""
HTTPS_PORTS: Final = frozenset({443, 8443})
HTTP_PORTS: Final = frozenset({80})
"""Open by default too where http is."""


@final
@dataclass(frozen=True, slots=True, repr=False)
class Target:
    """Where a webhook goes. Its repr shows scheme and host only: paths and queries carry tokens."""

    scheme: str
    host: str
    """As it goes into DNS and the certificate check: lower case, punycode; an IPv6 address without brackets."""
    port: int
    path: str
    """With the query; never empty."""

    @property
    def authority(self) -> str:
        """What `Host` says: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _OWN_PORT[self.scheme] else f"{host}:{self.port}"

    def __repr__(self) -> str:
        return f"<Target {self.scheme}://{self.host}>"

    __str__ = __repr__


@final
@dataclass(frozen=True, slots=True)
class UrlRules:
    """What a URL may look like. `ports` None: 443 and 8443, and 80 where http is allowed."""

    allow_http: bool = False
    ports: Collection[int] | None = None
    networks: AllowedNetworks = field(default_factory=AllowedNetworks)

    def opens(self, port: int) -> bool:
        if self.ports is not None:
            return port in self.ports
        return port in HTTPS_PORTS or (self.allow_http and port in HTTP_PORTS)


def read_target(url: object, rules: UrlRules) -> Target:
    """Return the target that a URL names. Raises UrlRejected, which names what is wrong and shows nothing of it."""
    if not isinstance(url, str) or not 0 < len(url) <= LONGEST_URL:
        _reject("form")
    if "\\" in url or any(unicodedata.category(character) in _UNSEEN for character in url):
        _reject("characters")
    parts = _URL.fullmatch(url)
    if parts is None:
        _reject("scheme" if _OTHER_SCHEME.match(url) else "form")
    scheme, authority, path = parts["scheme"].lower(), parts["authority"], parts["path"]
    if scheme == "http" and not rules.allow_http:
        _reject("scheme")
    if "@" in authority:
        _reject("userinfo")
    if not _PATH.fullmatch(path):
        _reject("characters")
    host, port = _host_and_port(authority)
    number = _OWN_PORT[scheme] if port is None else _port(port)
    host = _checked_host(host, rules.networks)
    if not rules.opens(number):
        _reject("port")
    return Target(scheme, host, number, path if path.startswith("/") else "/" + path)


def _reject(kind: RejectedKind) -> NoReturn:
    raise UrlRejected(kind)


def _host_and_port(authority: str) -> tuple[str, str | None]:
    if authority.startswith("["):
        host, bracket, rest = authority.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            _reject("host")
        return host + bracket, rest[1:] if rest else None
    host, colon, port = authority.partition(":")
    return host, port if colon else None


def _port(text: str) -> int:
    if not _DIGITS.fullmatch(text):
        _reject("port")
    return int(text)


def _checked_host(host: str, networks: AllowedNetworks) -> str:
    if "%" in host:
        _reject("characters")
    address = read_address(host)
    if address is None:
        return read_name(host) or _reject("host")
    if not networks.permits(address):
        _reject("address")
    return str(address)


_OWN_PORT = {"http": 80, "https": 443}
_URL = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]+)(?P<path>[^#]*)", re.IGNORECASE)
"""A fragment is refused: it is never sent, so whoever wrote one meant another URL."""
_OTHER_SCHEME = re.compile(r"(?!https?:)[A-Za-z][A-Za-z0-9+.-]*:", re.IGNORECASE)
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?|\[\]-]|%[0-9A-Fa-f]{2})*")
"""RFC 3986, and the brackets and bars that many servers put into queries."""
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
"""Unicode's categories of controls, of what shows nothing or turns the writing around, of halves, and of spaces."""
_DIGITS = re.compile(r"[1-9][0-9]{0,4}")
