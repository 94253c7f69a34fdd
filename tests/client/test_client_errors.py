"""What an answer is raised as, and what no message ever shows."""

from __future__ import annotations

import ast
import logging
import traceback
from pathlib import Path
from typing import get_args

import httpx
import pytest

from asyncinfer import errors as library_errors
from asyncinfer.client import (
    AsyncClient,
    ConnectionLost,
    Forbidden,
    ServiceFailed,
    Unauthorized,
    UnexpectedAnswer,
    errors,
)
from asyncinfer.client._problems import _BY_SLUG, path_of
from asyncinfer.errors import AsyncinferError, InvalidOption, QuotaExceeded, TooLarge, UnknownModel
from asyncinfer.wire import ProblemSlug
from tests.client.fake_service import ROOT, FakeService, Step, job, page_of, problem

TOKEN = "s3cret-t0ken"


def test_every_problem_of_the_contract_has_its_error() -> None:
    assert set(_BY_SLUG) == set(get_args(ProblemSlug))


def test_the_tree_in_the_errors_module_is_the_classes_own() -> None:
    drawn = [line.split("── ")[1].split()[0] for line in (errors.__doc__ or "").splitlines() if "── " in line]
    tree = ast.parse(Path(errors.__file__).read_text())

    assert drawn == [line.name for line in tree.body if isinstance(line, ast.ClassDef)]


def test_every_error_of_the_client_is_one_of_the_library() -> None:
    own = [kind for kind in vars(errors).values() if isinstance(kind, type)]

    assert all(issubclass(kind, library_errors.AsyncinferError) for kind in own)


@pytest.mark.parametrize("slug", get_args(ProblemSlug))
async def test_every_problem_is_raised_with_what_the_service_said(slug: str) -> None:
    async with FakeService(problem(slug, 400, detail="what happened")).client() as client:
        with pytest.raises(AsyncinferError) as caught:
            await client.job("job_1").job()

    assert caught.value.problem is not None
    assert (caught.value.problem.slug, caught.value.problem.detail) == (slug, "what happened")


BY_STATUS: list[tuple[Step, type[AsyncinferError]]] = [
    (page_of("who", 401), Unauthorized),
    (page_of("no", 403), Forbidden),
    (page_of("none", 404), UnexpectedAnswer),
    (page_of("large", 413), TooLarge),
    (page_of("busy", 429), QuotaExceeded),
    (page_of("broken", 500), ServiceFailed),
    (page_of("elsewhere", 302), UnexpectedAnswer),
    (problem("brand-new", 418), UnexpectedAnswer),
    (problem("brand-new", 429), QuotaExceeded),
    (problem("brand-new", 503), ServiceFailed),
    (httpx.ConnectError("down"), ConnectionLost),
]


@pytest.mark.parametrize(("answer", "error"), BY_STATUS, ids=repr)
async def test_what_the_contract_does_not_know_is_judged_by_its_status(
    answer: Step, error: type[AsyncinferError]
) -> None:
    async with FakeService(answer).client(max_retries=0) as client:
        with pytest.raises(error):
            await client.job("job_1").job()


async def test_a_refused_model_and_an_unknown_one_are_told_apart() -> None:
    async with FakeService(problem("model-not-found", 404)).client() as client:
        with pytest.raises(UnknownModel):
            await client.model("nope")
        with pytest.raises(InvalidOption, match="model"):
            await client.model("../jobs")


async def test_a_service_that_is_not_ready_says_why() -> None:
    service = FakeService(httpx.Response(503, json={"status": "unavailable", "reasons": ["draining"]}))

    async with service.client() as client:
        health = await client.health()

    assert (health.status, health.reasons) == ("unavailable", ["draining"])
    assert service.asked == ["GET /inference/readyz"]


async def test_a_proxy_that_is_not_ready_is_no_health() -> None:
    async with FakeService(page_of("unavailable", 503)).client() as client:
        with pytest.raises(ServiceFailed):
            await client.health()


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("down"),
        httpx.ReadError("lost"),
        httpx.ReadTimeout("slow"),
        page_of(TOKEN, 500),
        page_of(TOKEN, 200),
        page_of(TOKEN, 403),
        page_of("x", 302, location=f"https://example.com/?token={TOKEN}"),
        problem("internal-error", 500),
        problem("validation", 422),
    ],
    ids=repr,
)
async def test_no_error_shows_a_token_or_an_input(trouble: Step, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async with FakeService(trouble).client(max_retries=1, token=TOKEN, headers={"x-key": TOKEN}) as client:
        with pytest.raises(AsyncinferError) as caught:
            await client.submit("echo", {"text": TOKEN}, metadata=TOKEN)
        assert TOKEN not in repr(client)

    assert TOKEN not in "".join(traceback.format_exception(caught.value))
    assert TOKEN not in caplog.text


async def test_no_log_line_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    service = FakeService(job("succeeded", output=1))

    async with service.client(token=TOKEN) as client:
        await (await client.submit("echo", {"text": TOKEN}, idempotency_key=TOKEN)).result()

    assert service.header("authorization") == [f"Bearer {TOKEN}"]
    assert TOKEN not in caplog.text


WRONG_URLS = [
    f"https://user:{TOKEN}@example.com",
    f"https://example.com/?token={TOKEN}",
    f"https://example.com/#{TOKEN}",
    f"ftp://example.com/{TOKEN}",
    f"example.com/{TOKEN}",
    f"https:///{TOKEN}",
    f"https://example.com:{TOKEN}/",
    f"https://[{TOKEN}/",
    f"https://example.com/{TOKEN}\n",
    f"https://exämple.com/{TOKEN}",
]


@pytest.mark.parametrize("url", WRONG_URLS)
def test_a_wrong_address_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(InvalidOption, match="base_url") as caught:
        AsyncClient(url)

    assert TOKEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("token", [f"{TOKEN}\r\nx: y", f"{TOKEN} x", "", "ä"])
def test_a_wrong_token_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(InvalidOption, match="token") as caught:
        AsyncClient(ROOT, token=token)

    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("headers", [{"x y": "a"}, {"x": f"{TOKEN}\n"}, {"x": f" {TOKEN}"}])
def test_a_wrong_header_is_refused_and_not_shown(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidOption, match="headers") as caught:
        AsyncClient(ROOT, headers=headers)

    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("name", ["timeout", "attempt_timeout", "connect_timeout", "reconnect_for", "max_retries"])
@pytest.mark.parametrize("value", [-1, float("nan"), "x", True])
def test_a_wrong_bound_is_refused_by_its_name(name: str, value: object) -> None:
    wrong: dict[str, object] = {name: value}

    with pytest.raises(InvalidOption, match=name):
        AsyncClient(ROOT, **wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  what is tried


async def test_redirects_are_not_followed() -> None:
    service = FakeService(page_of("x", 307, location="https://elsewhere.example.com/"))

    async with service.client(token=TOKEN) as client:
        with pytest.raises(UnexpectedAnswer, match="redirect"):
            await client.job("job_1").job()

    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("pointer", "path"),
    [
        ("/input", "input"),
        ("/input/a", "input.a"),
        ("/input/ps/1/x", "input.ps[1].x"),
        ("/input/a~1b~0c", "input.a/b~c"),
        ("limit", "limit"),
        ("", ""),
    ],
)
def test_a_pointer_reads_as_a_python_path(pointer: str, path: str) -> None:
    assert path_of(pointer) == path
