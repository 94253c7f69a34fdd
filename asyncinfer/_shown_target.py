"""A webhook's target as logs and reprs show it: scheme and host only, since paths and queries carry tokens."""

from __future__ import annotations

import re

_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,31})://(?:[^/?#\\]*@)?([A-Za-z0-9.:\[\]_-]{1,255})(?=[/?#]|$)")


def shown_target(target: str) -> str:
    """Return `scheme://host` of a URL, and what has no `://`, the id of a registered endpoint, as it is."""
    if "://" not in target:
        return target if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", target) else "…"
    found = _ORIGIN.match(target)
    return f"{found[1]}://{found[2]}" if found else "…"
