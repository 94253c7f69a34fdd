"""Which addresses may be called."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncinfer.adapters.webhook._addresses import AllowedNetworks, is_metadata, is_public
from asyncinfer.errors import InvalidOption

EVERYTHING = AllowedNetworks(["0.0.0.0/0", "::/0"])
METADATA = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "169.254.0.23",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "fe80::a9fe:a9fe",
    "fe80::a9fe:a9fe%1",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "::ffff:0:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1:a9fe:a9:fe00::",
    "2002:a9fe:a9fe::1",
    "2001:0:808:808:0:0:5601:5601",
    "2606:4700::5efe:169.254.169.254",
]


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "223.255.255.255",
        "192.0.1.1", "198.17.255.255", "198.20.0.1", "2606:4700:4700::1111", "2a00:1450::1", "2001:200::1",
    ],
)  # fmt: skip
def test_a_public_address_may_be_called(address: str) -> None:
    assert is_public(ip_address(address))
    assert AllowedNetworks().permits(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.1",
        "127.255.255.255", "172.16.0.0", "172.31.255.255", "192.0.0.8", "192.0.0.10", "192.0.2.1", "192.31.196.1",
        "192.52.193.1", "192.88.99.1", "192.168.0.0", "192.168.255.255", "192.175.48.1", "198.18.0.0",
        "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
        "255.255.255.255",
    ],
)  # fmt: skip
def test_a_special_ipv4_address_may_not(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "::", "::1", "::8.8.8.8", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8", "64:ff9b::808:808", "64:ff9b:1::1", "100::1",
        "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:808:808::1", "2620:4f:8000::1",
        "3ffe::1", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fdff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1",
        "2606:4700:4700::1111%eth0", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:10.0.0.1",
    ],
)  # fmt: skip
def test_a_special_ipv6_address_may_not(address: str) -> None:
    assert not is_public(ip_address(address))


@given(st.ip_addresses())
def test_the_table_never_lets_through_what_python_denies(address: IPv4Address | IPv6Address) -> None:
    assert not is_public(address) or address.is_global


@given(st.ip_addresses(v=4))
def test_no_notation_of_an_ipv4_address_in_ipv6_leads_further(address: IPv4Address) -> None:
    low = int(address)
    prefixes = ["::", "::ffff:0:0", "::ffff:0:0:0", "64:ff9b::"]
    inside = [IPv6Address(int(IPv6Address(prefix)) | low) for prefix in prefixes]
    inside += [IPv6Address((0x2002 << 112) | (low << 80)), IPv6Address((0x20010000 << 96) | (low ^ 0xFFFFFFFF))]

    assert not any(is_public(each) for each in inside)
    assert all(is_metadata(each) for each in inside) >= is_metadata(address)


def test_a_private_network_may_be_allowed() -> None:
    networks = AllowedNetworks(["10.1.0.0/16", "fd12::/16"])

    assert networks.permits(ip_address("10.1.255.255"))
    assert networks.permits(ip_address("fd12::1"))
    assert not networks.permits(ip_address("10.2.0.0"))
    assert not networks.permits(ip_address("fd13::1"))
    assert not networks.permits(ip_address("::ffff:10.1.0.1"))
    assert not networks.permits(ip_address("127.0.0.1"))


def test_an_allowed_translation_leads_no_further_than_ipv4_does() -> None:
    networks = AllowedNetworks(["64:ff9b::/96", "10.1.0.0/16"])

    assert networks.permits(ip_address("64:ff9b::808:808"))
    assert networks.permits(ip_address("64:ff9b::a01:1"))
    assert not networks.permits(ip_address("64:ff9b::a02:1"))
    assert not networks.permits(ip_address("64:ff9b::a9fe:a9fe"))


@pytest.mark.parametrize("address", METADATA)
def test_a_metadata_address_may_never_be_called_whatever_is_allowed(address: str) -> None:
    assert not EVERYTHING.permits(ip_address(address))
    assert not AllowedNetworks([address.partition("%")[0]]).permits(ip_address(address))


@pytest.mark.parametrize("network", ["10.1.0.1/16", "10.1.0.0/33", "hooks.example.com", "", 10, None])
def test_a_network_that_is_none_is_an_invalid_option(network: str) -> None:
    with pytest.raises(InvalidOption, match="allowed_networks"):
        AllowedNetworks([network])
