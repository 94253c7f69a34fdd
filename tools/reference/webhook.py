"""Webhooks: their schedule, what the delivery log says, and where they may not go, from the code that decides it."""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
from collections.abc import Iterator
from typing import get_args

from asyncinfer.adapters.webhook import UrlRejected
from asyncinfer.adapters.webhook._response import Kind
from asyncinfer.adapters.webhook._schedule import SCHEDULE
from asyncinfer.adapters.webhook._url_rejected import RejectedKind
from tools.reference.defaults import Fixed, fixed_numbers
from tools.reference.markdown import code, table

NUMBERS = (
    Fixed("webhook._transport", "CONNECT_SECONDS", "to connect, the TLS handshake included"),
    Fixed("webhook._transport", "TOTAL_SECONDS", "a whole attempt, from the look-up of the host to the answer's end"),
    Fixed("webhook._resolver", "LOOK_UP_SECONDS", "to look a host up"),
    Fixed("webhook._resolver", "LOOK_UPS_AT_ONCE", "look-ups at a time, in threads of their own; beyond it: `dns`"),
    Fixed("webhook._network", "ANSWER_BYTES", "of an answer that are read, its head included"),
    Fixed("webhook._network", "READ_BYTES", "of them at a time, between which others have their turn"),
    Fixed("webhook._network", "TRIED_ADDRESSES", "addresses of a host that are tried, in the time to connect"),
    Fixed("webhook._response", "LONGEST_DETAIL", "characters of `detail` in the log that tell of a TLS failure"),
    Fixed("webhook._attempts", "SIGNING_SECONDS", "for all signatures of an attempt: a signer may ask a KMS"),
    Fixed("webhook._attempts", "NOTES_TRIED", "times to write what an attempt makes of an endpoint others change"),
    Fixed("webhook._schedule", "JITTER", "the random part of each wait, in both directions"),
    Fixed("webhook._schedule", "LONGEST_RETRY_AFTER", "seconds: a longer `Retry-After` is cut to this"),
    Fixed("webhook._verdict", "GONE", "the status that ends a delivery, and disables an endpoint"),
    Fixed("webhook._registered", "FAILING_MS", "of failures only, and an endpoint is disabled"),
    Fixed("webhook._endpoints", "OVERLAP_SECONDS", "both secrets sign after a rotation, unless told otherwise"),
    Fixed("webhook._endpoints", "LONGEST_DESCRIPTION", "characters of an endpoint's description"),
    Fixed("webhook._endpoints", "MOST_ENDPOINTS", "registered endpoints of one owner"),
    Fixed("webhook._endpoints", "CHANGES_TRIED", "times to write a change of an endpoint that others change meanwhile"),
    Fixed("webhook._envelope", "FULL_BYTES", "the largest body with the whole job; a larger one is thin"),
    Fixed("webhook._targets", "LONGEST_URL", "characters of a URL"),
    Fixed("webhook._host_names", "LONGEST_NAME", "characters of a host's name"),
    Fixed("webhook._verify", "MAX_SIGNATURES", "signatures in one header that `verify` looks at"),
    Fixed("webhook._hand", "AT_ONCE", "attempts at one URL at a time"),
    Fixed("webhook._hand", "FAILURES", "in a row, and one owner's deliveries to a host are paced"),
    Fixed("webhook._hand", "PACE_SECONDS", "then, between the attempts there"),
    Fixed("webhook._hand", "HELD", "leased deliveries that wait in memory"),
    Fixed("webhook._hand", "HELD_OF_LANE", "of those, from one owner to one host"),
    Fixed("webhook._hand", "CROWD", "of those, above which others are looked for first"),
    Fixed("webhook._hand", "TARGETS_KEPT", "URLs that are remembered while more waits for their host"),
    Fixed("webhook._hand", "LANES_KEPT", "pairs of owner and host whose failures are remembered"),
    Fixed("webhook._dispatcher", "POLL_SECONDS", "due deliveries are looked for, when nothing told of them"),
    Fixed("webhook._dispatcher", "CROWDED_SECONDS", "between two looks past a crowd"),
    Fixed("webhook._dispatcher", "DUE_AT_ONCE", "deliveries that are leased at a time"),
    Fixed("webhook._dispatcher", "HOLD_SECONDS", "a leased delivery may wait for its turn"),
    Fixed("webhook._dispatcher", "SHORTEST_SECONDS", "the shortest rest"),
    Fixed("webhook._expander", "OWED_AT_ONCE", "owed events that are leased at a time"),
    Fixed("webhook._expander", "LEASE_SECONDS", "their lease"),
    Fixed("webhook._expander", "RECORDS_AT_ONCE", "jobs that are read with their results at a time"),
    Fixed("webhook._sender", "POLL_SECONDS", "endings of other processes are looked for"),
    Fixed("webhook._sender", "RETRY_SECONDS", "before the store is asked again after a failure"),
    Fixed("webhook._settler", "RETRY_SECONDS", "before what the store did not take is written again"),
    Fixed("webhook._settler", "FLUSH_SECONDS", "a closing sender's last writes"),
    Fixed("webhook._live", "COALESCED_SECONDS", "progress and output are collected before they are told"),
    Fixed("webhook._live", "POST_SECONDS", "a post of a live event"),
    Fixed("webhook._live", "LINGER_SECONDS", "the last live events of an attempt may take after its end"),
    Fixed("webhook._live", "RETRY_SECONDS", "before the events of a job are read again after a failure"),
    Fixed("webhook._live_lanes", "AT_ONCE", "posts of live events at a time, beside the attempts at deliveries"),
    Fixed("webhook._live_lanes", "AT_ONCE_OF_LANE", "of those, of one owner's to one host or one endpoint"),
    Fixed("webhook._live_lanes", "AT_ONCE_OF_SUSPECTS", "of those, to all together whose latest one failed"),
    Fixed("webhook._live_lanes", "LINES", "pairs of an attempt and a receiver that are told at a time"),
    Fixed("webhook._live_lanes", "LINES_OF_LANE", "of those, of one owner's to one host or one endpoint"),
    Fixed("webhook._live_lanes", "FAILURES", "in a row, and no live events are told there"),
    Fixed("webhook._live_lanes", "PAUSE_SECONDS", "then, before the next is tried"),
    Fixed("webhook._live_lanes", "LANES_KEPT", "pairs of owner and host, or endpoint, whose failures are remembered"),
    Fixed("webhook._pools", "KEPT_SECONDS", "an idle connection is kept"),
    Fixed("webhook._idle_connections", "LOOK_SECONDS", "between two looks of a sender for those to close"),
    Fixed("webhook._pools", "KEPT_HOSTS", "hosts whose idle connections are kept"),
    Fixed("webhook._pools", "KEPT_PER_HOST", "idle connections of one host"),
)
SHOWN_AS_SCHEDULE = ("webhook._schedule", "SCHEDULE")
"""A number of the code that has a table of its own."""
KINDS: dict[Kind, str] = {
    "delivered": "2xx. The body of the answer does not matter.",
    "dns": "The host has no address, or its name server did not answer in time.",
    "blocked": "The [guard](#where-it-may-call) let it go nowhere: `detail` is the kind of refusal. Or nothing could be"
    " sent for a reason of our own: a signer that failed, an endpoint that is disabled.",
    "connect": "No connection, one that broke before an answer, or an egress proxy that refused.",
    "tls": "The handshake failed: a certificate that is not valid for the name, a protocol.",
    "timeout": "No connection, or no answer, in time.",
    "status": "Any other status; or what came was no HTTP.",
    "redirect": "3xx. It is not followed.",
}
NEVER = ("_NEVER_V4", "_NEVER_V6")
REFUSED = ("_DENIED_V4", "_DENIED_V6")
WITHOUT_WORDS = {"2002::/16": "6to4"}
"""What the code calls by a name, in place of a comment."""


def numbers() -> str:
    return fixed_numbers(NUMBERS, "asyncinfer.adapters")


def schedule() -> str:
    """Return when each attempt is made."""
    return table(
        ["attempt", "after the one before", "after the ending"],
        [
            [str(number), _time(wait), _time(total)]
            for number, (wait, total) in enumerate(zip(SCHEDULE, itertools.accumulate(SCHEDULE), strict=True), 1)
        ],
    )


def kinds() -> str:
    """Return what a line of the delivery log can say."""
    return table(["kind", "what happened"], [[code(kind), KINDS[kind]] for kind in get_args(Kind)])


def rejected() -> str:
    """Return why a URL can be refused."""
    kinds: tuple[RejectedKind, ...] = get_args(RejectedKind)
    return table(["kind", "meaning"], [[code(kind), str(UrlRejected(kind)).partition(": ")[2]] for kind in kinds])


def refused_networks() -> str:
    """Return the networks that are refused unless they are allowed."""
    return _networks(REFUSED)


def never_networks() -> str:
    """Return the networks that are refused whatever is allowed."""
    return _networks(NEVER)


def _networks(names: tuple[str, ...]) -> str:
    return table(["network", "what is there"], [[code(network), words] for network, words in _told(names)])


def _told(names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield each network with the comment that stands behind it in the code."""
    module = importlib.import_module("asyncinfer.adapters.webhook._addresses")
    source = inspect.getsource(module)
    for name in names:
        table_of_it = source[source.index(f"\n{name}:") :]
        for network in map(str, vars(module)[name]):
            found = re.search(rf'"{re.escape(network)}"\s*\),  # (.*)', table_of_it)
            yield network, found[1] if found else WITHOUT_WORDS[network]


def _time(seconds: int) -> str:
    if seconds == 0:
        return "at once"
    for unit, name in ((3_600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds} s"
