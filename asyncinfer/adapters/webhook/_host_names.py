"""Read the host of a URL so that everybody reads it alike: one notation for an address, one form for a name.

What a browser, a resolver or libc would make of `127.1`, `0x7f.1` or `①②⑦.⓪.⓪.①` is not asked: such a host is refused.
"""

from __future__ import annotations

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv6Address

import idna

from asyncinfer.adapters.webhook._addresses import Address

LONGEST_NAME = 253
"""Characters of a DNS name (RFC 1035)."""


def read_address(host: str) -> Address | None:
    """Return the address that a host is, if written as `192.0.2.1` or `[2001:db8::1]`; no other notation is taken."""
    try:
        if _IN_BRACKETS.fullmatch(host):
            return IPv6Address(host[1:-1])
        return IPv4Address(host) if host.isascii() else None
    except AddressValueError:
        return None


def read_name(host: str) -> str | None:
    """Return a host name as it goes into DNS: lower case, punycode. None for what is no public kind of name."""
    if len(host) > LONGEST_NAME:
        return None
    name = host.lower() if host.isascii() else _to_ascii(host.lower())
    if name is None or len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        return None
    labels = name.split(".")
    if _NUMBER.fullmatch(labels[-1]) or labels[-1] == "localhost":
        return None
    return name if all(_is_label(label) for label in labels) else None


def _to_ascii(host: str) -> str | None:
    """Encode by IDNA 2008 without any mapping: what it would map is what confuses."""
    if unicodedata.normalize("NFKC", host) != host or any(dot in host for dot in _OTHER_DOTS):
        return None
    try:
        return idna.encode(host, strict=True, std3_rules=True).decode("ascii")
    except ValueError:  # IDNAError is one, and so is what unicodedata raises for what has no name
        return None


def _is_label(label: str) -> bool:
    """Tell whether a label that claims to be punycode is that of some text, and the only one."""
    if not label.startswith("xn--"):
        return label[2:4] != "--"
    try:
        return idna.alabel(idna.ulabel(label)).decode("ascii") == label
    except ValueError:
        return False


_IN_BRACKETS = re.compile(r"\[[0-9A-Fa-f:.]{2,45}\]")
_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""Two labels at least, of letters, digits and hyphens; no dot at the end, which certificates do not have either."""
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
"""A name that ends so would be read as an IPv4 address somewhere (WHATWG URL, "ends in a number")."""
_OTHER_DOTS = "\u3002\uff0e\uff61"
