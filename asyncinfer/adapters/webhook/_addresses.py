"""Which addresses a webhook may be sent to: our own default-deny table, and the private networks that a host allows.

`ipaddress.is_global` will not do: it lets NAT64, 6to4, site-local, multicast and two metadata addresses through, and
its answers change with the Python version. The table follows IANA's special-purpose registries of IPv4 and IPv6
(https://www.iana.org/assignments/iana-ipv4-special-registry, and iana-ipv6-special-registry) and denies more than they
do: of IPv6 only what is given out as global unicast is let through, and of either nothing that only leads elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import final

from asyncinfer.errors import InvalidOption

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def is_public(address: Address) -> bool:
    """Tell whether the table lets this address through. An IPv4 address inside of it has to be let through too."""
    if isinstance(address, IPv4Address):
        return not _is_in(address, _DENIED_V4)
    if address.scope_id is not None or address not in _GLOBAL_UNICAST or _is_in(address, _DENIED_V6):
        return False
    return all(is_public(inner) for inner in _embedded(address))


def is_metadata(address: Address) -> bool:
    """Tell whether a cloud's metadata service answers there, or whether what answers there cannot be known."""
    if isinstance(address, IPv4Address):
        return _is_in(address, _NEVER_V4)
    unscoped = IPv6Address(int(address))
    return _is_in(unscoped, _NEVER_V6) or any(is_metadata(inner) for inner in _embedded(unscoped))


@final
class AllowedNetworks:
    """The private networks where receivers may stand, such as `10.20.0.0/16`.

    Metadata addresses and link-local ones stay refused, whatever is allowed. An allowed IPv6 network that embeds IPv4
    (NAT64 `64:ff9b::/96`) leads no further than IPv4 itself may: the inner address has to be public or allowed too.
    """

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """Take networks in CIDR notation. Raises InvalidOption."""
        self._networks: Sequence[Network] = tuple(_network(text) for text in networks)

    def permits(self, address: Address) -> bool:
        """Tell whether a webhook may be sent to this address."""
        if is_metadata(address):
            return False
        if is_public(address):
            return True
        if not _is_in(address, self._networks):
            return False
        inner = () if isinstance(address, IPv4Address) else _embedded(address)
        return all(self.permits(each) for each in inner)

    def __repr__(self) -> str:
        return f"AllowedNetworks({[str(network) for network in self._networks]})"


def _network(text: str) -> Network:
    # An int or None is an address or an error to ip_network, and callers may be untyped.
    try:
        return ip_network(text if isinstance(text, str) else "")  # pyright: ignore[reportUnnecessaryIsInstance]
    except ValueError:
        raise InvalidOption(f"allowed_networks: expected networks such as '10.20.0.0/16', got {text!r}") from None


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _embedded(address: IPv6Address) -> Sequence[IPv4Address]:
    """Return the IPv4 addresses to which something on the way may translate or tunnel this one."""
    bits = int(address)
    low = IPv4Address(bits & 0xFFFF_FFFF)
    if _is_in(address, _LOW_32_BITS):
        return (low,)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(bits >> 80 & 0xFFFF_FFFF),)
    if address in _TEREDO:  # the server, and the client behind it, inverted (RFC 4380)
        return (IPv4Address(bits >> 64 & 0xFFFF_FFFF), IPv4Address(int(low) ^ 0xFFFF_FFFF))
    if bits >> 32 & 0xFCFF_FFFF == 0x0000_5EFE:  # ISATAP (RFC 5214), under any prefix
        return (low,)
    return ()


_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_LOW_32_BITS = (
    IPv6Network("::/96"),  # IPv4-compatible, deprecated
    IPv6Network("::ffff:0:0/96"),  # IPv4-mapped
    IPv6Network("::ffff:0:0:0/96"),  # IPv4-translated (SIIT)
    IPv6Network("64:ff9b::/96"),  # NAT64
)

_DENIED_V4: Sequence[Network] = (
    IPv4Network("0.0.0.0/8"),  # this network; Linux connects 0.0.0.0 to itself
    IPv4Network("10.0.0.0/8"),  # private
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT, and Alibaba's metadata
    IPv4Network("127.0.0.0/8"),  # loopback
    IPv4Network("168.63.129.16/32"),  # Azure's wire server: public by its number only
    IPv4Network("169.254.0.0/16"),  # link-local, and most clouds' metadata
    IPv4Network("172.16.0.0/12"),  # private
    IPv4Network("192.0.0.0/24"),  # IETF protocols, DS-Lite, and Oracle's metadata
    IPv4Network("192.0.2.0/24"),  # documentation
    IPv4Network("192.31.196.0/24"),  # AS112
    IPv4Network("192.52.193.0/24"),  # AMT
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv4Network("192.168.0.0/16"),  # private
    IPv4Network("192.175.48.0/24"),  # AS112
    IPv4Network("198.18.0.0/15"),  # benchmarks
    IPv4Network("198.51.100.0/24"),  # documentation
    IPv4Network("203.0.113.0/24"),  # documentation
    IPv4Network("224.0.0.0/4"),  # multicast
    IPv4Network("240.0.0.0/4"),  # reserved, and broadcast
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All else is loopback, mapped, NAT64, discard, unique local, link-local, site-local, multicast or not given out."""
_DENIED_V6: Sequence[Network] = (
    IPv6Network("2001::/23"),  # IETF protocols: Teredo, benchmarks, AMT, ORCHID, drone ids
    IPv6Network("2001:db8::/32"),  # documentation
    _SIX_TO_FOUR,
    IPv6Network("2620:4f:8000::/48"),  # AS112
    IPv6Network("3ffe::/16"),  # 6bone, given back
    IPv6Network("3fff::/20"),  # documentation
)
_NEVER_V4: Sequence[Network] = (
    IPv4Network("100.100.100.200/32"),  # Alibaba
    IPv4Network("168.63.129.16/32"),  # Azure
    IPv4Network("169.254.0.0/16"),  # AWS, Azure, Google, Oracle, Tencent …: the instance's, the task's and the pod's
    IPv4Network("192.0.0.192/32"),  # Oracle
)
_NEVER_V6: Sequence[Network] = (
    IPv6Network(
        "64:ff9b:1::/48"
    ),  # local NAT64: where in it the IPv4 address stands is the network's secret (RFC 8215)
    IPv6Network("fd00:42::42/128"),  # Scaleway
    IPv6Network("fd00:ec2::/32"),  # AWS: metadata, DNS, pod identity
    IPv6Network("fd20:ce::254/128"),  # Google
    IPv6Network("fe80::/10"),  # link-local: OpenStack's fe80::a9fe:a9fe among them
)
