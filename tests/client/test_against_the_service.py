"""The clients against the real application, served by uvicorn on a loopback port, and through a proxy that breaks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from msgspec import Struct
from starlette.applications import Starlette
from starlette.routing import Mount

from asyncinfer import JobManager, Model, RetryPolicy, current_job, model
from asyncinfer.adapters.http import BearerTokens, create_app
from asyncinfer.client import AsyncClient, Client, JobNotEnded, Timing, Unauthorized
from asyncinfer.errors import (
    IdempotencyConflict,
    InvalidInput,
    InvalidOption,
    JobCanceled,
    JobExpired,
    JobFailed,
    StreamReset,
    UnknownJob,
    UnknownModel,
)
from asyncinfer.wire import OutputEvent, ResetEvent, StatusEvent
from tests.client.breaking_proxy import BreakingProxy

TOKEN = "a-token-of-ann"


class Caption(Struct):
    text: str
    image: bytes


@model
async def caption(image: bytes, lang: str = "en") -> Caption:
    return Caption(text=lang, image=image)


@model
async def doubled(data: bytes) -> bytes:
    return data * 2


@model
async def tokens(count: int, pause: float = 0.0) -> AsyncIterator[str]:
    for number in range(count):
        await asyncio.sleep(pause)
        yield f"token {number}"


@model(retry=RetryPolicy(max_attempts=2, initial_delay=0, max_delay=0))
async def fails_once(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number
    if current_job().attempt == 1:
        raise ConnectionError("not yet")


@model
async def fails(message: str) -> None:
    raise ValueError(message)


@model
async def nothing() -> None:
    return None


@model(queue="slow")
async def waits_for_ever() -> None:
    await asyncio.Event().wait()


MODELS: list[Model[..., Any, Any]] = [caption, doubled, tokens, fails_once, fails, nothing, waits_for_ever]


class Hurry(Timing):
    """The host's clock, and hardly any wait between tries."""

    async def sleep_async(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.02))


@pytest.fixture
async def manager() -> AsyncIterator[JobManager]:
    async with JobManager("memory://", models=MODELS, cancel_grace=0.5, drain_grace=0) as manager:
        yield manager


@pytest.fixture
async def port(manager: JobManager) -> AsyncIterator[int]:
    """Serve the application below a prefix; return the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        tokens_of = BearerTokens({BearerTokens.hash(TOKEN): "ann"})
        inner = create_app(manager, public_base_url=f"http://127.0.0.1:{port}/inference", authenticate=tokens_of)
        outer = Starlette(routes=[Mount("/inference", app=inner)])
        config = uvicorn.Config(outer, lifespan="off", ws="none", log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield port
        server.should_exit = True
        await serving


def connect(port: int, *, token: str = TOKEN, max_retries: int = 5) -> AsyncClient:
    root = f"http://127.0.0.1:{port}/inference"
    return AsyncClient(root, token=token, max_retries=max_retries, timing=Hurry())


@pytest.fixture
async def client(port: int) -> AsyncIterator[AsyncClient]:
    async with connect(port) as client:
        yield client


async def test_a_job_is_submitted_and_its_result_decoded(client: AsyncClient) -> None:
    remote = await client.submit("caption", {"image": b"\xff\xfe", "lang": "fr"}, labels={"a": "b"})

    assert await remote.result(10, type=Caption) == Caption("fr", b"\xff\xfe")
    assert await remote.status() == "succeeded"
    assert not remote.is_existing


async def test_a_job_may_end_within_the_submit(client: AsyncClient) -> None:
    remote = await client.submit("tokens", {"count": 2}, wait=10)

    assert remote.record is not None
    assert remote.record.status == "succeeded"
    assert await remote == ["token 0", "token 1"]


async def test_bytes_come_back_as_they_are(client: AsyncClient) -> None:
    remote = await client.submit("doubled", {"data": b"\0\xff"})

    assert await remote.result_bytes(10) == b"\0\xff\0\xff"
    assert await remote.result(type=bytes) == b"\0\xff\0\xff"


async def test_null_is_a_result(client: AsyncClient) -> None:
    assert await (await client.submit("nothing")).result(10) is None


async def test_a_failed_job_says_why(client: AsyncClient) -> None:
    with pytest.raises(JobFailed, match="boom") as caught:
        await (await client.submit("fails", {"message": "boom"})).result(10)

    assert caught.value.code == "model_error"


async def test_a_key_finds_its_job_again_and_holds_its_input(client: AsyncClient) -> None:
    first = await client.submit("tokens", {"count": 1}, idempotency_key='order "7"')
    again = await client.submit("tokens", {"count": 1}, idempotency_key='order "7"')

    assert again.id == first.id
    assert (first.is_existing, again.is_existing) == (False, True)
    with pytest.raises(IdempotencyConflict) as caught:
        await client.submit("tokens", {"count": 2}, idempotency_key='order "7"')
    assert caught.value.job_id == first.id


async def test_an_id_of_ones_own_finds_its_job_again(client: AsyncClient) -> None:
    first = await client.submit("tokens", {"count": 1}, job_id="mine")

    assert first.id == "mine"
    assert (await client.submit("tokens", {"count": 1}, job_id="mine")).is_existing


async def test_a_wrong_input_names_its_path(client: AsyncClient) -> None:
    with pytest.raises(InvalidInput, match=r"^input\.count: expected int, got str") as caught:
        await client.submit("tokens", {"count": "a"})

    assert caught.value.path == "input.count"


async def test_a_wrong_option_names_itself(client: AsyncClient) -> None:
    with pytest.raises(InvalidOption, match=r"^priority"):
        await client.submit("tokens", {"count": 1}, priority=10)


async def test_what_is_unknown_is_told(client: AsyncClient) -> None:
    with pytest.raises(UnknownModel):
        await client.submit("nope")
    with pytest.raises(UnknownModel):
        await client.model("nope")
    with pytest.raises(UnknownJob, match="job_0"):
        await client.job("job_0").result()
    with pytest.raises(UnknownJob):
        await anext(client.job("job_0").events())


async def test_another_token_is_not_let_in(port: int) -> None:
    async with connect(port, token="another") as client:
        with pytest.raises(Unauthorized):
            await client.models()


async def test_events_come_in_order_until_the_end(client: AsyncClient) -> None:
    remote = await client.submit("tokens", {"count": 3, "pause": 0.01})

    events = [event async for event in remote.events()]

    durable = [event for event in events if isinstance(event, (StatusEvent, OutputEvent))]
    assert [event.value for event in events if isinstance(event, OutputEvent)] == ["token 0", "token 1", "token 2"]
    assert [event.status for event in events if isinstance(event, StatusEvent)] == ["queued", "running", "succeeded"]
    assert [event.id for event in durable] == sorted({event.id for event in durable})
    assert [event async for event in remote.events(after=durable[-1].id)] == []
    assert [event async for event in remote.events(after=durable[-2].id)] == durable[-1:]


async def test_a_page_of_events_is_what_is_there_now(client: AsyncClient) -> None:
    remote = await client.submit("tokens", {"count": 3})
    followed = [event async for event in remote.events()]

    first = await remote.event_page(limit=2)
    rest = await remote.event_page(int(first.next_cursor))

    assert ([*first.data, *rest.data], first.has_more, rest.has_more) == (followed, True, False)


async def test_a_stream_yields_what_the_model_does(client: AsyncClient) -> None:
    remote = await client.submit("tokens", {"count": 20})

    assert [token async for token in remote.stream(type=str)] == [f"token {number}" for number in range(20)]


async def test_another_attempt_resets_a_stream(client: AsyncClient) -> None:
    remote = await client.submit("fails_once", {"count": 2})

    resets = [event.attempt async for event in remote.events() if isinstance(event, ResetEvent)]

    assert resets == [2]
    with pytest.raises(StreamReset):
        [value async for value in remote.stream()]
    assert await remote == [0, 1]


async def test_a_running_job_is_canceled_and_then_deleted(client: AsyncClient, port: int) -> None:
    remote = await client.submit("waits_for_ever")
    async for event in remote.events():
        if isinstance(event, StatusEvent) and event.status == "running":
            break

    async with connect(port, max_retries=0) as impatient:
        with pytest.raises(JobNotEnded):
            await impatient.job(remote.id).delete()
        with pytest.raises(JobNotEnded):
            await impatient.job(remote.id).retry()
    with pytest.raises(TimeoutError):
        await remote.result(timeout=0.05)
    assert (await remote.cancel()).id == remote.id
    with pytest.raises(JobCanceled):
        await remote.result(10)
    await remote.delete()
    with pytest.raises(JobExpired):
        await remote.job()


async def test_an_ended_job_runs_again_as_another(client: AsyncClient) -> None:
    first = await client.submit("tokens", {"count": 1}, wait=10)
    second = await first.retry()

    assert await second.result(10) == ["token 0"]
    assert (await second.job()).retry_of == first.id


async def test_jobs_are_listed_by_filters_and_pages(client: AsyncClient) -> None:
    ids = [(await client.submit("tokens", {"count": 1}, labels={"n": str(n % 2)}, wait=10)).id for n in range(5)]

    assert [job.id async for job in client.jobs(model="tokens")] == ids[::-1]
    assert [job.id async for job in client.jobs(labels={"n": "1"}, status="succeeded")] == [ids[3], ids[1]]
    page = await client.page(limit=2)
    assert [job.id for job in (await client.page(limit=2, after=page.next_cursor)).data] == ids[2:0:-1]
    first = await client.job(ids[0]).job()
    assert [job.id async for job in client.jobs(created_before=first.created_at - timedelta(seconds=1))] == []


async def test_a_record_may_come_with_its_input_and_attempts(client: AsyncClient) -> None:
    remote = await client.submit("caption", {"image": b"\xff"}, wait=10)
    record = await remote.job(with_input=True, with_attempts=True)

    assert record.input == {"image": "/w==", "lang": "en"}
    assert isinstance(record.attempts, list)
    assert [attempt.number for attempt in record.attempts] == [1]


async def test_the_service_tells_of_itself(client: AsyncClient) -> None:
    waiting = [await client.submit("waits_for_ever", not_before=None) for _ in range(2)]

    assert {one.name for one in await client.models()} == {one.name for one in MODELS}
    assert (await client.model("caption")).input_schema["properties"].keys() == {"image", "lang"}
    assert (await client.queue("slow")).name == "slow"
    assert set(await client.purge("slow")) <= {remote.id for remote in waiting}
    assert (await client.health()).status == "ok"


async def test_code_without_asyncio_does_the_same(port: int) -> None:
    def work() -> None:
        with Client(f"http://127.0.0.1:{port}/inference", token=TOKEN) as client:
            remote = client.submit("tokens", {"count": 3, "pause": 0.01})
            assert list(remote.stream(type=str)) == ["token 0", "token 1", "token 2"]
            assert remote.result(10) == ["token 0", "token 1", "token 2"]
            assert remote.event_page(limit=1).data[0].id == 1
            assert len(list(client.jobs())) == 1
            with pytest.raises(JobFailed, match="boom"):
                client.submit("fails", {"message": "boom"}).result(10)

    await asyncio.to_thread(work)


@pytest.mark.parametrize("cut", [0, 1, 20, 300])
async def test_a_submit_whose_answer_is_lost_makes_one_job(client: AsyncClient, port: int, cut: int) -> None:
    async with BreakingProxy(port, cuts=[cut] * 3) as proxy, connect(proxy.port) as broken:
        remote = await broken.submit("tokens", {"count": 1})
        assert await remote.result(10) == ["token 0"]

    assert proxy.connections >= 4
    assert [job.id async for job in client.jobs()] == [remote.id]


async def test_events_come_once_through_a_proxy_that_cuts_everything(port: int) -> None:
    cuts = [700, 1_100, 1_500, 1_900, 2_300, 2_700]
    async with BreakingProxy(port, cuts=[0, *cuts]) as proxy, connect(proxy.port) as broken:
        remote = await broken.submit("tokens", {"count": 30, "pause": 0.001})
        values = [event.value async for event in broken.job(remote.id).events() if isinstance(event, OutputEvent)]

    assert proxy.connections > len(cuts)
    assert values == [f"token {number}" for number in range(30)]
