"""Where the service is and what each request says of its caller, checked so that no later error shows a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from asyncinfer.errors import InvalidOption


def root_of(base_url: object) -> str:
    """Return the service's root without a trailing slash. Raises InvalidOption, which shows nothing of it."""
    if not isinstance(base_url, str):
        raise InvalidOption(f"base_url: expected a str, got {type(base_url).__name__}")
    if not _PRINTABLE.fullmatch(base_url):
        raise InvalidOption("base_url: expected printable ASCII")
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidOption("base_url: expected an http or https URL") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidOption("base_url: expected an http or https URL")
    if "@" in parts.netloc:
        raise InvalidOption("base_url: expected no user and password, URLs are logged; use token= or headers=")
    if "?" in base_url or "#" in base_url:
        raise InvalidOption("base_url: expected no query and no fragment, URLs are logged; use token= or headers=")
    return base_url.rstrip("/")


def headers_of(token: str | None, headers: Mapping[str, str] | None) -> dict[str, str]:
    """Return the headers of every request. Raises InvalidOption, which shows no value."""
    found = {"user-agent": "asyncinfer-client"}
    for name, value in (headers or {}).items():
        if not _NAME.fullmatch(name):
            raise InvalidOption("headers: a name is no HTTP header name")
        if not _VALUE.fullmatch(value):
            raise InvalidOption(f"headers: the value of {name} is not printable ASCII")
        found[name.lower()] = value
    if token is not None:
        if not _TOKEN.fullmatch(token):
            raise InvalidOption("token: expected printable ASCII without spaces")
        found["authorization"] = f"Bearer {token}"
    return found


_PRINTABLE = re.compile(r"[!-~]+")
_TOKEN = _PRINTABLE
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?|")
