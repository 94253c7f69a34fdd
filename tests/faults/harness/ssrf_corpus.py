"""URLs and look-ups by which somebody tries to make us call where we must not, in classes; and some that are fine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from msgspec import Struct

from tests.faults.harness.webhook_network import Answer

PUBLIC = "93.184.216.34"
PUBLIC_TOO = "2606:2800:220:1::1"


class UrlCase(Struct, frozen=True):
    """A URL, and the address to which an accepted one leads."""

    group: str
    url: str
    kind: str | None = None
    """With which it is refused; None: it is accepted."""
    place: str = ""


class NameCase(Struct, frozen=True, kw_only=True):
    """What a name answers at each look-up, and what follows: at registration (the first), then at the attempt."""

    group: str
    look_ups: Sequence[Answer]
    registered: str | None = None
    """The kind with which it is refused; None: it is accepted."""
    attempted: str
    """The kind of the attempt; `connect` is one that got as far as a socket, to which nobody answers."""


def url_cases() -> Iterator[UrlCase]:
    yield from _accepted()
    yield from _forms()
    yield from _confusions()
    yield from _notations()
    yield from _special_addresses()
    yield from _ports()
    yield from _names()


def _accepted() -> Iterator[UrlCase]:
    for url in (
        "https://hooks.example.com/cb",
        "https://hooks.example.com:8443/cb?x=1",
        "https://hooks.example.com",
        "https://hooks.example.com?x",
        "HTTPS://HOOKS.EXAMPLE.COM/%0d%0aX/%00",
        "https://hooks.example.com/http://127.0.0.1/",
        "https://hooks.example.com/?to=https://u:p@10.0.0.1:22/",
        "https://127.0.0.1.example.com/",
        "https://localhost.example.com/",
        "https://10.example.com/",
        "https://0x7f.example/",
        "https://b\u00fccher.example/cb",
        "https://xn--bcher-kva.example/cb",
        "https://\u4f8b\u3048.\u30c6\u30b9\u30c8/",
        "https://a-b.c-d.example/",
    ):
        yield UrlCase("accepted name", url, place=PUBLIC)
    for host in ("172.32.0.1", "172.15.255.255", "100.63.255.255", "11.0.0.1", "223.255.255.255", "192.0.1.1"):
        yield UrlCase("accepted address", f"https://{host}/", place=host)
    for host in ("2606:4700:4700::1111", "2a00:1450:4001::1", "2001:200::1"):
        yield UrlCase("accepted address", f"https://[{host}]/", place=host)


def _forms() -> Iterator[UrlCase]:
    for scheme in ("http", "file", "ftp", "gopher", "dict", "ldap", "ws", "wss", "data", "javascript", "jar", "httpss"):
        yield UrlCase("scheme", f"{scheme}://hooks.example.com/cb", "scheme")
    yield UrlCase("scheme", "file:///etc/passwd", "scheme")
    yield UrlCase("scheme", "gopher://hooks.example.com:70/_x", "scheme")
    yield UrlCase("scheme", "https+unix://hooks.example.com/", "scheme")
    for url in (
        "",
        "/",
        "https",
        "https:",
        "https:/",
        "https://",
        "https:///cb",
        "https://?x",
        "https:hooks.example.com",
        "https:/hooks.example.com/",
        "https:////hooks.example.com/",
        "//hooks.example.com/cb",
        "://hooks.example.com/cb",
        "hooks.example.com/cb",
        "https://hooks.example.com/#x",
        "https://hooks.example.com/#@169.254.169.254/",
        "https://169.254.169.254#@hooks.example.com/",
        "https://hooks.example.com/" + "x" * 2_048,
    ):
        yield UrlCase("form", url, "form")


def _confusions() -> Iterator[UrlCase]:
    for url in (
        "https://user:pass@hooks.example.com/",
        "https://user@hooks.example.com/",
        "https://@hooks.example.com/",
        "https://:@hooks.example.com/",
        "https://hooks.example.com@169.254.169.254/",
        "https://hooks.example.com:443@169.254.169.254/",
        "https://169.254.169.254@hooks.example.com/",
        "https://a@b@hooks.example.com/",
        "https://[::1]@hooks.example.com/",
    ):
        yield UrlCase("userinfo", url, "userinfo")
    for character in (
        *"\r\n\0\t \\\x0b\x0c\x1b\x7f\x85\xa0\xad",
        *"\u1680\u180e\u2003\u200b\u200c\u200d\u200e\u202e\u2028\u2029\u2060\u2066\u3000\ufeff\ud800",
        "\r\nHost: 169.254.169.254\r\n\r\n",
    ):
        yield UrlCase("confusing character", f"https://hooks.example{character}.com/", "characters")
        yield UrlCase("confusing character", f"https://hooks.example.com/c{character}b", "characters")
    yield UrlCase("confusing character", " https://hooks.example.com/", "characters")
    yield UrlCase("confusing character", "https://hooks.example.com/ ", "characters")
    yield UrlCase("confusing character", "ht\ntps://hooks.example.com/", "characters")
    yield UrlCase("confusing character", "https:\\\\hooks.example.com/", "characters")
    yield UrlCase("confusing character", "https://hooks.example.com:4\t43/", "characters")
    for authority in (
        "hooks.example.com\\@169.254.169.254",
        "hooks.example.com%40169.254.169.254",
        "hooks.example.com%2fx",
        "%31%32%37.0.0.1",
        "hooks%2eexample.com",
        "hooks.example.com%00.evil.example",
        "[fe80::1%25eth0]",
        "[2606:4700::1%eth0]",
        "127.0.0.1%0d%0a",
    ):
        yield UrlCase("encoded authority", f"https://{authority}/", "characters")
    for path in ("/%", "/%4", "/%zz", "/caf\u00e9", "/<x>", '/"', "/{x}", "/^", "/`"):
        yield UrlCase("path", f"https://hooks.example.com{path}", "characters")


def _notations() -> Iterator[UrlCase]:
    """One address in the notations that some parser or other takes."""
    for address in ("127.0.0.1", "169.254.169.254", "10.0.0.1"):
        number = int(IPv4Address(address))
        a, b, c, d = address.split(".")
        low = number & 0xFFFF
        for host in (
            str(number),
            hex(number),
            f"0X{number:X}",
            f"0{number:o}",
            f"{a}.{number & 0xFFFFFF}",
            f"{a}.{b}.{low}",
            f"0x{int(a):x}.{b}.{c}.{d}",
            f"{a}.{b}.{c}.0x{int(d):x}",
            f"0{int(a):o}.{b}.{c}.{d}",
            f"{a}.{b}.{c}.0{d}",
            f"00{a}.{b}.{c}.{d}",
            f"{a}.{b}.{c}.{d}.",
            f"{a}.{b}.{c}.{d}.0",
            f"{a}.{b}..{d}",
            f"+{address}",
            str(number + 2**32),
            f"[{address}]",
            address.translate({ord("0") + n: 0xFF10 + n for n in range(10)}),
            address.translate({ord("0") + n: 0x1D7CE + n for n in range(10)}),
            address.translate({ord("0") + n: 0x0660 + n for n in range(10)}),
            address.translate({ord("0"): 0x24EA} | {ord("1") + n: 0x2460 + n for n in range(9)}),
            address.replace(".", "\u3002"),
            address.replace(".", "\uff0e"),
            address.replace(".", "\uff61"),
        ):
            yield UrlCase("odd IPv4", f"https://{host}/", "host")
    for host in (*"0179", "127.1", "0x7f.1", "0x", "0x.0x.0", "0177.0.0.1", "1.2.3.0x", "256.256.256.256", "1.2.3.256"):
        yield UrlCase("odd IPv4", f"https://{host}/", "host")
    for host in (
        "[::1",
        "[]",
        "[:]",
        "[::1]x",
        "[::1].example.com",
        "[[::1]]",
        "[::g]",
        "[1:2]",
        "[::1::]",
        "[::00001]",
        "[0:0:0:0:0:0:0:0:1]",
        "[::ffff:127.1]",
        "[::ffff:0x7f.0.0.1]",
        "[v1.fe80::1]",
        "[\uff11::1]",
        "[127.0.0.1]",
        "[hooks.example.com]",
    ):
        yield UrlCase("odd IPv6", f"https://{host}/", "host")
    yield UrlCase("odd IPv6", "https://::1/", "port")
    yield UrlCase("odd IPv6", "https://::1]/", "port")


SPECIAL_V4 = (
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "100.100.100.200",
    "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.169.254", "169.254.170.2", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.0.9", "192.0.0.192", "192.0.2.1", "192.31.196.1", "192.52.193.1",
    "192.88.99.1", "192.168.1.1", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
)  # fmt: skip
SPECIAL_V6 = (
    "::", "::1", "::2", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:8.8.8.8",
    "::ffff:169.254.169.254", "::ffff:0:10.0.0.1", "0:0:0:0:0:ffff:a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::8.8.8.8",
    "64:ff9b:1::a00:1", "64:ff9b:1:a9fe:a9:fe00::", "100::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1",
    "2620:4f:8000::1", "2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:a9fe:a9fe", "3ffe::1", "3fff::1", "4000::1",
    "5f00::1", "fc00::1", "fd00:ec2::254", "fd12:3456:789a::1", "fd20:ce::254", "fe80::1", "fe80::a9fe:a9fe",
    "fec0::1", "ff02::1", "ff05::2", "ff0e::1",
)  # fmt: skip


def _special_addresses() -> Iterator[UrlCase]:
    for host in SPECIAL_V4:
        yield UrlCase("special IPv4", f"https://{host}/", "address")
    for host in SPECIAL_V6:
        yield UrlCase("special IPv6", f"https://[{host}]/", "address")


def _ports() -> Iterator[UrlCase]:
    for port in (
        *("22", "25", "80", "6379", "8080", "11211", "0", "1", "65535", "65536", "65979", "4294967739", "-443", "+443"),
        *(
            "0443",
            "443.0",
            "44\u0663",
            "\u0664\u0664\u0663",
            "\uff14\uff14\uff13",
            "0x1bb",
            "https",
            "",
            ":443",
            "443:",
        ),
    ):
        yield UrlCase("port", f"https://hooks.example.com:{port}/", "port")
    yield UrlCase("port", "https://[2606:4700:4700::1111]:22/", "port")
    yield UrlCase("port", "https://hooks.example.com:443:22/", "port")


def _names() -> Iterator[UrlCase]:
    for host in ("redis:8443", "redis", "metadata", "localhost", "LocalHost", "kubernetes", "com", "a", "_"):
        yield UrlCase("single label", f"https://{host}/", "host")
    for host in (
        "localhost.",
        "LOCALHOST.",
        "a.localhost",
        "x.y.LOCALHOST",
        "hooks.example.com.",
        "hooks.example.com..",
    ):
        yield UrlCase("dot at the end, localhost", f"https://{host}/", "host")
    for host in (
        "xn--a", "xn--a.example", "xn--.example", "xn--zzzzzzzzzzz.example", "xn--bcher-kva.xn--",
        "xn--80ak6aa92e\u00e9.de", "xn--bcher-KVA--.example", "ab--cd.example", "xn--hooks-.example",
        "xn--1-7sb3ah0c-.com", "\ufb00.example", "\u2488.example", "\u2100.example", "\u00bd.example",
        "\u2024.example", "hooks\uff0eexample\uff0ecom", "\U0001f4a9.example", "\u05d0a.example", "\u0301a.example",
        "-a.example", "a-.example", "a_b.example", "a..example", ".a.example", "*.example.com", "a,b.example",
        "a!.example", "a'b.example", "$.example", "a;b.example",
        "a" * 64 + ".example", ("a" * 62 + ".") * 5 + "example",
    ):  # fmt: skip
        yield UrlCase("name", f"https://{host}/", "host")


def name_cases() -> Iterator[NameCase]:
    yield from _single_answers()
    yield from _mixed_answers()
    yield from _moving_answers()
    yield from _no_answers()


def _single_answers() -> Iterator[NameCase]:
    for address in (*SPECIAL_V4, *SPECIAL_V6, "fe80::1%1", "2606:4700:4700::1111%1"):
        yield NameCase(group="name at", look_ups=[[address]], registered="address", attempted="blocked")


def _mixed_answers() -> Iterator[NameCase]:
    for address in ("10.0.0.7", "::ffff:169.254.169.254", "fd12::7", "100.64.0.7", "64:ff9b::a00:7", "169.254.169.254"):
        for answer in ([address, PUBLIC], [PUBLIC, address], [PUBLIC, PUBLIC_TOO, address], [PUBLIC, address, PUBLIC]):
            yield NameCase(group="one among public", look_ups=[answer], registered="address", attempted="blocked")
    # What follows an alias is what counts: getaddrinfo gives the addresses at its end.
    alias = ["169.254.169.254", "fd00:ec2::254"]
    yield NameCase(group="alias of metadata", look_ups=[alias], registered="address", attempted="blocked")
    many = [str(IPv4Address("93.184.0.0") + number) for number in range(500)]
    yield NameCase(group="hundreds", look_ups=[many], attempted="connect")
    for place in (0, 250, 500):
        answer = [*many[:place], "10.0.0.7", *many[place:]]
        yield NameCase(group="hundreds", look_ups=[answer], registered="address", attempted="blocked")
    private = [str(IPv4Address("10.0.0.0") + number) for number in range(500)]
    yield NameCase(group="hundreds", look_ups=[private], registered="address", attempted="blocked")


def _moving_answers() -> Iterator[NameCase]:
    for address in ("127.0.0.1", "169.254.169.254", "10.0.0.7", "::1", "fd00:ec2::254", "::ffff:10.0.0.7"):
        yield NameCase(group="rebinding", look_ups=[[PUBLIC], [address]], attempted="blocked")
        # An attempt that looked up twice would connect to the third answer.
        yield NameCase(group="rebinding later", look_ups=[[PUBLIC], [PUBLIC], [address]], attempted="connect")
        yield NameCase(
            group="rebinding back", look_ups=[[address], [PUBLIC]], registered="address", attempted="connect"
        )
    yield NameCase(group="rebinding", look_ups=[[PUBLIC], [PUBLIC, "10.0.0.7"]], attempted="blocked")


def _no_answers() -> Iterator[NameCase]:
    yield NameCase(group="no such name", look_ups=[[]], registered="dns", attempted="dns")
    yield NameCase(group="no such name", look_ups=[[PUBLIC], []], attempted="dns")
    yield NameCase(group="failure", look_ups=[OSError("servfail")], registered="dns", attempted="dns")
    yield NameCase(group="failure", look_ups=[[PUBLIC], TimeoutError()], attempted="dns")
    yield NameCase(group="silence", look_ups=[[PUBLIC], None], attempted="dns")
