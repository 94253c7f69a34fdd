"""What is refused before it is parsed: bodies, headers, types, and JSON that two parsers could read differently."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from asyncinfer import JobManager, Limits
from asyncinfer.adapters.http import Bounds, create_app
from asyncinfer.errors import InvalidOption
from tests.adapters.http.models import ALL
from tests.adapters.http.serving import served
from tests.adapters.http.steps import BASE, request_of, slug_of

JSON = {"Content-Type": "application/json"}
GOOD = json.dumps(request_of("echo", {"text": "hi"})).encode()


def with_metadata(text: bytes) -> bytes:
    return GOOD[:-1] + b', "metadata": ' + text + b"}"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null x",
        GOOD + b"{}",
        b"\xef\xbb\xbf" + GOOD,
        GOOD.decode().encode("utf-16"),
        GOOD.replace(b"hi", b"\xff"),
        GOOD.replace(b"hi", b"\xed\xa0\x80"),
        GOOD.replace(b"hi", b"\\ud800"),
        GOOD.replace(b"hi", b"\\udc00\\ud800"),
        GOOD.replace(b"hi", b"\0"),
        GOOD.replace(b"hi", b"\n"),
        with_metadata(b"NaN"),
        with_metadata(b"-Infinity"),
        with_metadata(b"1e999"),
        with_metadata(b"18446744073709551616"),
        with_metadata(b"-9223372036854775809"),
        with_metadata(b"9" * 1_000_000),
        with_metadata(b"01"),
        with_metadata(b"[" * 32 + b"]" * 32),
        with_metadata(b"[" * 100_000 + b"]" * 100_000),
        with_metadata(b"[" * 100_000),
        with_metadata(b'{"a": 1, "a": 2}'),
        with_metadata(b'{"a": 1, "\\u0061": 2}'),
        GOOD[:-1] + b', "model": "fails"}',
        with_metadata(b"'single'"),
        with_metadata(b"1 /* comment */"),
    ],
)
async def test_what_is_no_strict_json_is_malformed(client: httpx.AsyncClient, body: bytes) -> None:
    answered = await client.post("/v1/jobs", content=body, headers=JSON)
    assert (answered.status_code, slug_of(answered)) == (400, "malformed-request")


@pytest.mark.parametrize(
    "metadata",
    [
        b"18446744073709551615",
        b"-9223372036854775808",
        b"[" * 31 + b"]" * 31,
        b'"\\ud83d\\ude00"',
        b'"\\u0000"',
        b"1e-999",
    ],
)
async def test_strict_json_may_go_as_far_as_it_goes(client: httpx.AsyncClient, metadata: bytes) -> None:
    answered = await client.post("/v1/jobs", content=with_metadata(metadata), headers=JSON)
    assert answered.status_code == 202
    assert answered.json()["metadata"] == json.loads(metadata)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": ""},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/jsonx"},
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
async def test_another_type_or_coding_is_not_read(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    body = gzip.compress(GOOD) if "Content-Encoding" in headers else GOOD
    answered = await client.post("/v1/jobs", content=body, headers=headers)
    assert (answered.status_code, slug_of(answered)) == (415, "unsupported-media-type")


@pytest.mark.parametrize("kind", ["application/json;charset=UTF-8", 'Application/JSON ; charset="utf-8"'])
async def test_the_type_may_be_written_as_it_is_allowed(client: httpx.AsyncClient, kind: str) -> None:
    answered = await client.post(
        "/v1/jobs", content=GOOD, headers={"Content-Type": kind, "Content-Encoding": "identity"}
    )
    assert answered.status_code == 202


async def test_too_many_or_too_large_headers_are_refused(client: httpx.AsyncClient) -> None:
    many = await client.get("/healthz", headers=[("a", "b")] * 10_000)
    large = await client.get("/healthz", headers={"a": "b" * 33_000})
    assert [(one.status_code, slug_of(one)) for one in (many, large)] == [(431, "headers-too-large")] * 2


@pytest.mark.parametrize("name", ["headers", "header_bytes", "body_seconds", "wait_seconds", "send_seconds"])
async def test_a_bound_is_above_zero(name: str) -> None:
    with pytest.raises(InvalidOption, match=rf"Bounds\.{name}"):
        Bounds(**{name: 0})


@pytest.fixture
async def small() -> AsyncIterator[str]:
    """The URL of a service with small bounds behind a real server."""
    limits = Limits(input_bytes=1_000, metadata_bytes=100)
    async with JobManager("memory://", models=ALL, limits=limits, cancel_grace=0.1, drain_grace=0) as manager:
        bounds = Bounds(body_seconds=0.2, wait_seconds=0.2)
        async with served(create_app(manager, public_base_url=BASE, allow_anonymous=True, bounds=bounds)) as url:
            yield url


async def raw(url: str, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes as they are; return what comes back until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(data)
    if end:
        writer.write_eof()
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


HEAD = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


async def test_a_body_that_says_it_is_too_large_is_not_waited_for(small: str) -> None:
    answer = await raw(small, HEAD + b"Content-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"urn:asyncinfer:problem:payload-too-large" in answer
    assert b'"max_bytes":67736' in answer


async def test_a_body_that_grows_too_large_is_cut_off(small: str) -> None:
    chunks = b"10000\r\n" + b" " * 0x10000 + b"\r\n1000\r\n" + b" " * 0x1000 + b"\r\n"
    answer = await raw(small, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_never_ends_is_waited_for_so_long_and_no_longer(small: str) -> None:
    answer = await raw(small, HEAD + b"Content-Length: 50\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()


async def test_a_client_that_leaves_in_its_body_leaves_nothing(small: str) -> None:
    answer = await raw(small, HEAD + b"Content-Length: 50\r\n\r\n{", end=True)
    assert answer == b""
    async with httpx.AsyncClient(base_url=small) as client:
        assert (await client.get("/v1/jobs")).json()["data"] == []


async def test_a_longer_wait_than_the_bound_gets_the_bound(small: str) -> None:
    async with httpx.AsyncClient(base_url=small) as client:
        job = (await client.post("/v1/jobs", json=request_of("waits_for_ever"))).json()
        async with asyncio.timeout(5):
            waited = await client.get(f"/v1/jobs/{job['id']}", params={"wait": 3_600})
    assert waited.json()["status"] == "running"


async def test_a_client_that_leaves_its_wait_does_not_cancel_the_job(small: str) -> None:
    async with httpx.AsyncClient(base_url=small) as client:
        job = (await client.post("/v1/jobs", json=request_of("waits_for_ever"))).json()
        with pytest.raises(httpx.ReadTimeout):
            await client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}, timeout=0.05)
        still = (await client.get(f"/v1/jobs/{job['id']}", params={"wait": "0.1"})).json()
    assert (still["status"], still["cancel_requested_at"]) == ("running", None)
