"""The form of a webhook's URL. F24's corpus holds what is refused, class by class; here is what it becomes."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncinfer.adapters.webhook._addresses import AllowedNetworks
from asyncinfer.adapters.webhook._targets import Target, UrlRules, read_target
from asyncinfer.adapters.webhook._url_rejected import UrlRejected
from asyncinfer.errors import AsyncinferError

RULES = UrlRules()


def kind_of(url: object, rules: UrlRules = RULES) -> str:
    with pytest.raises(UrlRejected) as caught:
        read_target(url, rules)
    return caught.value.kind


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://hooks.example.com", Target("https", "hooks.example.com", 443, "/"), "hooks.example.com"),
        ("HTTPS://Hooks.Example.COM/CB", Target("https", "hooks.example.com", 443, "/CB"), "hooks.example.com"),
        ("https://a.example:443/", Target("https", "a.example", 443, "/"), "a.example"),
        ("https://a.example:8443/x?y=%2F", Target("https", "a.example", 8443, "/x?y=%2F"), "a.example:8443"),
        ("https://a.example?y=1", Target("https", "a.example", 443, "/?y=1"), "a.example"),
        ("https://bücher.example/cb", Target("https", "xn--bcher-kva.example", 443, "/cb"), "xn--bcher-kva.example"),
        ("https://BÜCHER.example/", Target("https", "xn--bcher-kva.example", 443, "/"), "xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example/", Target("https", "xn--bcher-kva.example", 443, "/"), "xn--bcher-kva.example"),
        ("https://[2606:4700:0:0::1]/", Target("https", "2606:4700::1", 443, "/"), "[2606:4700::1]"),
        ("https://172.32.0.1/", Target("https", "172.32.0.1", 443, "/"), "172.32.0.1"),
        ("https://a.example/a//b/../c@d?g[h]=|", Target("https", "a.example", 443, "/a//b/../c@d?g[h]=|"), "a.example"),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart_once(url: str, target: Target, authority: str) -> None:
    read = read_target(url, RULES)

    assert read == target
    assert read.authority == authority


def test_a_target_shows_scheme_and_host_only() -> None:
    target = read_target("https://hooks.example.com:8443/secret?token=abc", RULES)

    assert repr(target) == str(target) == f"{target}" == "<Target https://hooks.example.com>"


@pytest.mark.parametrize(
    "url", ["http://hooks.example.com/secret", "https://10.0.0.7/secret", "https://u:secret@a.example/"]
)
def test_a_rejection_names_its_kind_and_shows_nothing(url: str) -> None:
    with pytest.raises(AsyncinferError) as caught:
        read_target(url, RULES)

    assert isinstance(caught.value, UrlRejected)
    assert caught.value.kind in str(caught.value)
    assert not any(part in str(caught.value) + repr(caught.value) for part in ("secret", "10.0.0.7", "example"))


@pytest.mark.parametrize(
    ("rules", "url", "kind"),
    [
        (UrlRules(allow_http=True), "http://a.example/", None),
        (UrlRules(allow_http=True), "http://a.example:443/", None),
        (UrlRules(allow_http=True), "http://a.example:8080/", "port"),
        (UrlRules(allow_http=True, ports={443}), "http://a.example/", "port"),
        (UrlRules(ports={9443}), "https://a.example:9443/", None),
        (UrlRules(ports={9443}), "https://a.example/", "port"),
        (UrlRules(networks=AllowedNetworks(["10.1.0.0/16"])), "https://10.1.2.3/", None),
        (UrlRules(networks=AllowedNetworks(["10.1.0.0/16"])), "https://10.2.2.3/", "address"),
        (UrlRules(networks=AllowedNetworks(["127.0.0.0/8"])), "https://127.1/", "host"),
        (UrlRules(networks=AllowedNetworks(["127.0.0.0/8"])), "https://localhost/", "host"),
        (UrlRules(networks=AllowedNetworks(["0.0.0.0/0"])), "https://169.254.169.254/", "address"),
    ],
)
def test_the_rules_open_what_they_name_and_no_more(rules: UrlRules, url: str, kind: str | None) -> None:
    if kind is None:
        read_target(url, rules)
    else:
        assert kind_of(url, rules) == kind


@pytest.mark.parametrize(
    "url", [None, 1, b"https://a.example/", "", "https://a.example/" + "x" * 2048, "/cb", "a.example"]
)
def test_what_is_no_url_is_refused(url: object) -> None:
    assert kind_of(url) == "form"


PIECES = [
    "https", "http", "://", ":", "/", "\\", "@", "#", "?", "[", "]", "%", ".", "127.0.0.1", "::1", "0x", "xn--", "a",
    "example.com", "443", "\0", "\n", "\u200b", "\u3002", "\u2460", "\ufb00", "\ud800", "\u00df", "\u0131", "\u0130",
    "\u0301", "\u05d0", "\u0660", "\U0001f4a5",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join))
def test_any_text_is_read_or_refused_and_never_fails(rest: str) -> None:
    for url in (rest, "https://" + rest):
        try:
            target = read_target(url, RULES)
        except UrlRejected:
            continue
        assert target.host.isascii()
        assert target.path.isascii()
        assert target.port in (443, 8443)
        assert _read_again(target, RULES.ports) == target


def _read_again(target: Target, ports: Collection[int] | None) -> Target:
    return read_target(f"{target.scheme}://{target.authority}{target.path}", UrlRules(ports=ports))
