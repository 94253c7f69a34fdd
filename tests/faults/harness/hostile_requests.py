"""Requests that nobody means well with: a fixed collection, and as many more as Hypothesis is asked for."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping

from hypothesis import strategies as st

from asyncinfer import wire
from asyncinfer.adapters.http._operations import OPERATIONS
from tests.faults.harness.raw_asgi import Ending, Request

JSON_TYPE = (b"content-type", b"application/json")
JOB = b"job_here"
"""The id of a job that is there; another is `job_live`, which runs."""
ENDPOINT = b"wh_here"
"""The id of a registered endpoint."""
ROUTES = [(method, path) for path, methods in OPERATIONS.items() for method in methods]
BODIES = [
    (method, path, operation.takes)
    for path, methods in OPERATIONS.items()
    for method, operation in methods.items()
    if operation.takes is not None
]

GOOD = b'{"model": "echo", "input": {"text": "hi"}}'
GOOD_OF: Mapping[object, bytes] = {
    wire.Submit: GOOD,
    wire.RegisterWebhook: b'{"url": "https://hooks.example.com/cb"}',
    wire.ChangeWebhook: b'{"description": "changed"}',
    wire.Recover: b'{"since": "2026-01-01T00:00:00Z"}',
}
VALUES = [
    b"[" * 33 + b"]" * 33,
    b"[" * 3_000,
    b'{"a":' * 200 + b"1" + b"}" * 200,
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-1e999",
    b"1e-999",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"9" * 5_000,
    b"0." + b"1" * 5_000,
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\xed\xa0\x80"',
    b'"\xff\xfe"',
    b'{"a": 1, "a": 2}',
    b'"\\u0000"',
    b'"\0"',
    b"01",
    b"'a'",
    b"",
    b"null",
    b"true",
    b"[]",
    b"{}",
    b"-0",
    b"0.0",
    b"1e3",
    b"9999999999",
    b'"9999-12-31T23:59:59-14:00"',
    b'"0001-01-01T00:00:00+14:00"',
    b'"9999-12-31T23:59:59.999999Z"',
    b'"2030-02-30T00:00:00Z"',
    b'"' + b"x" * 3_000 + b'"',
    b'"https://[::1"',
    b'"https://[:::::]/"',
    b'"https://\xe2\x84\xaa.example/"',
    b'"https://xn--a-0000000000.example/"',
    b'"https://' + b"a." * 1_000 + b'example/"',
    b'{"url": "https://[::1"}',
    b'{"url": "https://hooks.example.com/", "events": ["job.failed", "job.failed"]}',
    b'{"endpoint": "wh_here"}',
    b'{"endpoint": "\\u0000"}',
    b'["job.failed"]',
]
MEMBERS = [
    b"model", b"input", b"priority", b"not_before", b"delay_seconds", b"queue_timeout_seconds", b"time_limit_seconds",
    b"deadline", b"retry", b"retention_result_seconds", b"retention_record_seconds", b"dedup", b"webhook", b"labels",
    b"metadata", b"nothing", b"\\u006dodel", b"url", b"events", b"description", b"proof", b"enabled", b"since",
    b"until",
]  # fmt: skip
_PARAMETERS = sorted(
    {one.name for methods in OPERATIONS.values() for operation in methods.values() for one in operation.parameters}
)
_HEADER_VALUES = [
    b"", b"0", b"-1", b"9" * 30, b"1, 1", b"\0", b"\xff", b"*", b"gzip", b"identity, gzip", b"chunked", b'"', b'""',
    b"application/json", b"application/json; charset=utf-16", b"text/event-stream", b"text/event-stream;q=x",
    b"a;q=,;,", b"wait=1", b"wait=" + b"9" * 9, b"wait=\xb2", b"respond-async, wait=0", b'W/"1"',
    b'W/"' + b"9" * 40 + b'"', b"Bearer ", b"Bearer \xff", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01",
    b"x" * 9_000, b"evil.example\r\nx: y",
]  # fmt: skip
_QUERY_VALUES = [
    b"", b"1", b"-1", b"0", b"9" * 30, b"1e9", b"nan", b"%00", b"%ff", b"%", b"%zz", b"\xff", b"a,b,,", b"queued",
    b"terminal", b"input,attempts", b"2030-01-01T00:00:00Z", b"0001-01-01T00:00:00%2B14:00",
    b"9999-12-31T23:59:59-14:00", b"1:job_1", b"99999999999999999999:job_1", b"%F0%9F%92%A9",
    b"'; drop table jobs; --",
]  # fmt: skip


def collection() -> Iterable[Request]:
    """Return what breaks parsers, each on every route that takes a body; the large ones are here only."""
    bodies = [
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 1_000_000,
        _with(b"metadata", b"[" * 100_000 + b"]" * 100_000),
        _with(b"metadata", b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
        _with(b"metadata", b"9" * 1_000_000),
        _with(b"metadata", b"-" + b"9" * 1_000_000),
        _with(b"metadata", b"0." + b"3" * 1_000_000),
        _with(b"metadata", b'"' + b"\\" * 999_999 + b'"'),
        _with(b"metadata", b"[" + b"[]," * 100_000 + b"[]]"),
        _with(b"input", b'{"text": "' + b"x" * 3_000_000 + b'"}'),
        *(_with(b"metadata", value) for value in VALUES),
        *(_with(b"input", value) for value in VALUES),
        *_encoded(GOOD),
    ]
    for method, path, takes in BODIES:
        for number, body in enumerate([*bodies, *_each_member(GOOD_OF[takes])]):
            yield Request(method=method, path=_path(path, b"new_%d" % number), headers=[JSON_TYPE], body=[body])
    for method, path in ROUTES:
        for headers in ([(b"a", b"b")] * 10_000, [(b"a", b"b" * 100_000)], [(b"\0", b"\0"), (b"", b"")]):
            yield Request(method=method, path=_path(path, JOB), headers=headers, body=[GOOD])


def connections() -> Iterable[bytes]:
    """Return what is sent over a connection of its own; what does not end by itself is cut off by its sender."""
    line, post = b"GET /v1/jobs HTTP/1.1\r\nhost: x\r\n", b"POST /v1/jobs HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
    typed = post + b"content-type: application/json\r\n"
    yield from (b"", b"\0" * 1_000, b"\r\n\r\n", b"GET /\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01")
    yield from (line, line + b"a", line + b"\0: \0\r\n\r\n", line + b": a\r\n\r\n", line + b"a\r\n\r\n")
    yield from (line + b"a: b\r\n" * 10_000 + b"\r\n", line + b"a: " + b"b" * 1_000_000 + b"\r\n\r\n")
    yield from (b"GET " + path + b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" for path in _RAW_PATHS)
    yield from (typed + b"content-length: %b\r\n\r\n" % length + GOOD for length in _RAW_LENGTHS)
    yield from (typed + b"transfer-encoding: %b\r\n\r\n" % coding + GOOD for coding in (b"chunked", b"gzip", b"x"))
    yield from (typed + b"transfer-encoding: chunked\r\n\r\n" + chunk for chunk in _RAW_CHUNKS)
    yield typed + b"content-length: 42\r\ntransfer-encoding: chunked\r\n\r\n" + GOOD
    yield typed + b"content-length: 42\r\ncontent-length: 43\r\n\r\n" + GOOD
    yield typed + b"expect: 100-continue\r\ncontent-length: 42\r\n\r\n"
    yield line + b"\r\n" + line + b"\r\n" + b"garbage\r\n\r\n"


_RAW_PATHS = [
    b"*",
    b"http://evil.example/v1/jobs",
    b"//",
    b"/%00",
    b"/\xff",
    b"/v1/jobs/%ff",
    b"/?" + b"a" * 60_000,
    b"/#a",
]
_RAW_LENGTHS = [b"0", b"1", b"41", b"43", b"1000", b"-1", b"+42", b"4_2", b"9" * 30, b"", b"0x2a", b"42, 42"]
_RAW_CHUNKS = [
    b"",
    b"0\r\n\r\n",
    b"-1\r\n",
    b"zz\r\n",
    b"f" * 30 + b"\r\n",
    b"1\r\n{\r\n",
    b"1;" + b"a" * 9_000 + b"\r\n{\r\n0\r\n\r\n",
]


def requests() -> st.SearchStrategy[Request]:
    """Return the strategy of one request to any route, or to none."""
    return st.one_of(_submits(), _anywhere())


@st.composite
def _submits(draw: st.DrawFn) -> Request:
    method, path, takes = draw(st.sampled_from(BODIES))
    return Request(
        method=method,
        path=_path(path, draw(_IDS)),
        query=draw(_QUERIES) if draw(st.booleans()) else b"",
        headers=[JSON_TYPE, *draw(_HEADERS)],
        body=draw(_bodies(GOOD_OF[takes])),
        ending=draw(_ENDINGS),
    )


@st.composite
def _anywhere(draw: st.DrawFn) -> Request:
    method, path = draw(st.sampled_from(ROUTES))
    return Request(
        method=draw(st.sampled_from([*[method] * 8, *_OTHER_METHODS])),
        path=_path(path, draw(_IDS)) if draw(st.integers(0, 9)) else b"/" + draw(st.binary(max_size=30)),
        query=draw(_QUERIES),
        headers=draw(_HEADERS),
        body=draw(st.lists(st.binary(max_size=20), max_size=2)),
        ending=draw(_ENDINGS),
    )


@st.composite
def _bodies(draw: st.DrawFn, good: bytes) -> list[bytes]:
    kind = draw(st.integers(0, 7))
    at = draw(st.integers(0, len(good)))
    if kind < 4:
        members = draw(st.lists(st.tuples(st.sampled_from(MEMBERS), st.one_of(_VALUES, _JSON)), max_size=3))
        body = _with_all(members, good)
    elif kind == 4:
        body = draw(st.sampled_from(list(_encoded(good))))
    elif kind == 5:
        body = draw(st.one_of(_JSON, st.binary(max_size=60)))
    else:
        body = good[:at] + (b"\0" + good[at:] if kind == 6 else b"")
    return [body[:at], body[at:]]


def _ending(number: int) -> Ending:
    return "never" if number == 18 else "leaves" if number == 19 else "ends"


_OTHER_METHODS = ["HEAD", "OPTIONS", "PATCH", "TRACE", "get", "\0", "\xe9"]
_IDS = st.one_of(
    st.sampled_from(
        [JOB, ENDPOINT, b"job_live", b"echo", b"default", b"x" * 65, b"%00", b"%ff", b"%2f", b"..", b"", b"%ED%A0%80"]
    ),
    st.binary(max_size=70),
)
_PARAMETER_NAMES = [*(name.encode() for name in _PARAMETERS), b"label.a", b"label.", b"label.%00", b"x"]
_QUERIES = st.one_of(
    st.just(b""),
    st.lists(st.tuples(st.sampled_from(_PARAMETER_NAMES), st.sampled_from(_QUERY_VALUES)), max_size=3).map(
        lambda pairs: b"&".join(name + b"=" + value for name, value in pairs)
    ),
    st.binary(max_size=40),
)
_HEADER_NAMES = [
    b"content-type", b"content-length", b"content-encoding", b"transfer-encoding", b"accept", b"prefer", b"expect",
    b"idempotency-key", b"if-none-match", b"last-event-id", b"traceparent", b"authorization", b"host",
]  # fmt: skip
_HEADERS = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(_HEADER_NAMES), st.binary(max_size=10).map(bytes.lower)),
        st.one_of(st.sampled_from(_HEADER_VALUES), st.binary(max_size=40)),
    ),
    max_size=4,
)
_ENDINGS: st.SearchStrategy[Ending] = st.integers(0, 19).map(_ending)
_VALUES = st.sampled_from(VALUES)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8), st.just("\ud800")
)
_TREES: st.SearchStrategy[object] = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)),
)
_JSON = _TREES.map(lambda value: json.dumps(value).encode())


def _encoded(body: bytes) -> Iterable[bytes]:
    text = body.decode()
    yield from (b"\xef\xbb\xbf" + body, text.encode("utf-16"), text.encode("utf-16-le"), text.encode("utf-32"))
    yield from (
        gzip.compress(body),
        body + body,
        body + b"\0",
        body[:-1],
        b"\x1e" + body,
        body.replace(b" ", b"\xc2\xa0"),
    )


def _with(member: bytes, value: bytes) -> bytes:
    return _with_all([(member, value)])


def _each_member(good: bytes) -> Iterable[bytes]:
    """Return a good body with each value at each of its members, in place of what was there."""
    for member in json.loads(good):
        for value in VALUES:
            rest = {name: kept for name, kept in json.loads(good).items() if name != member}
            told = [json.dumps(rest).encode()[1:-1], b'"%b": %b' % (member.encode(), value)]
            yield b"{" + b", ".join(part for part in told if part) + b"}"


def _with_all(members: Iterable[tuple[bytes, bytes]], good: bytes = GOOD) -> bytes:
    return good[:-1] + b"".join(b', "%b": %b' % member for member in members) + b"}"


def _path(route: str, name: bytes) -> bytes:
    return route.encode().replace(b"{id}", name).replace(b"{name}", name)
