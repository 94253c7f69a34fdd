"""What both type checkers must infer. Never run: `assert_type` is the test, and the checkers are who runs it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Iterator
from typing import Any, assert_type

from asyncinfer import JobHandle, JobManager, Model, ScopedManager, Submission
from asyncinfer.client import AsyncClient, AsyncRemoteJob, Client, RemoteJob
from tests.typing.models import (
    Caption,
    Item,
    anything,
    anything_else,
    caption,
    classify,
    classify_soon,
    counted,
    echo,
    echo_soon,
    embed,
    embed_anything,
    embed_soon,
    embed_stream,
    embed_stream_soon,
    generated,
    later,
    nothing,
    scale,
    tokens,
    tokens_soon,
)


def a_plain_call_gives_what_the_function_gives() -> None:
    _ = assert_type(echo("a"), Coroutine[Any, Any, str])
    assert_type(caption(b"", lang="fr"), Caption)
    assert_type(scale(1.0, by=2.0), float)
    _ = assert_type(echo_soon("a"), Coroutine[Any, Any, str])
    assert_type(tokens("a"), Iterator[str])
    assert_type(generated(1), Iterator[int])
    assert_type(tokens_soon("a"), AsyncIterator[str])
    assert_type(counted(1), AsyncIterator[int])
    assert_type(anything(1), Any)
    _ = assert_type(later("a"), Coroutine[Any, Any, int])
    assert_type(embed("a"), list[float])
    _ = assert_type(embed_soon("a"), Coroutine[Any, Any, list[float]])
    assert_type(embed_stream("a"), Iterator[float])
    assert_type(embed_stream_soon("a"), AsyncIterator[float])
    assert_type(embed_anything("a"), Any)
    assert_type(classify(Item(image=b"")), str)
    _ = assert_type(classify_soon(Item(image=b"")), Coroutine[Any, Any, str])


def a_submission_carries_the_result_of_the_job() -> None:
    assert_type(echo.bind("a"), Submission[str])
    assert_type(caption.bind(b"", lang="fr"), Submission[Caption])
    assert_type(scale.bind(number=1.0), Submission[float])
    assert_type(tokens.bind("a"), Submission[list[str]])
    assert_type(counted.bind(1), Submission[list[int]])
    assert_type(anything.bind(1), Submission[Any])
    assert_type(anything_else.bind(1), Submission[Any])
    assert_type(nothing.bind(), Submission[None])
    assert_type(embed_stream_soon.bind("a"), Submission[list[float]])
    assert_type(classify.bind(Item(image=b"")), Submission[str])
    assert_type(caption.bind_json(b"{}"), Submission[Caption])


def options_keep_every_type() -> None:
    assert_type(scale.options(priority=1).bind(1.0), Submission[float])
    _ = assert_type(echo.options(delay=5, labels={"a": "b"})("a"), Coroutine[Any, Any, str])
    assert_type(tokens.options(webhook="https://example.com/").options(priority=0).bind("a"), Submission[list[str]])


def a_result_is_decoded_as_the_models_own_type() -> None:
    assert_type(caption.decode_result(b""), Caption)
    assert_type(tokens_soon.decode_result(b""), list[str])


async def a_handle_is_typed_by_the_model(manager: ScopedManager) -> None:
    assert_type(await manager.submit(echo, "a"), JobHandle[str])
    assert_type(await manager.submit(caption, b"", lang="fr"), JobHandle[Caption])
    assert_type(await manager.submit(caption.options(priority=1), b""), JobHandle[Caption])
    assert_type(await manager.submit(tokens, "a"), JobHandle[list[str]])
    assert_type(await manager.submit(anything, 1), JobHandle[Any])
    assert_type(await manager.submit(nothing), JobHandle[None])
    assert_type(await manager.submit(embed, "a"), JobHandle[list[float]])
    assert_type(await manager.submit(embed_soon, "a"), JobHandle[list[float]])
    assert_type(await manager.submit(embed_stream, "a"), JobHandle[list[float]])
    assert_type(await manager.submit(classify, Item(image=b"")), JobHandle[str])
    assert_type(await manager.submit(classify_soon, Item(image=b"")), JobHandle[str])


async def a_handle_gives_the_result(manager: JobManager) -> None:
    job = await manager.submit(caption, b"")
    assert_type(await job, Caption)
    assert_type(await job.result(timeout=1), Caption)
    stream = await manager.submit(tokens_soon, "a")
    assert_type(stream.stream(), AsyncIterator[str])


async def many_are_submitted_at_once(manager: ScopedManager) -> None:
    assert_type(await manager.submit_many([caption.bind(b""), caption.bind(b"", lang="de")]), list[JobHandle[Caption]])
    mixed: list[Submission[str | Caption]] = [echo.bind("a"), caption.bind(b"")]
    assert_type(await manager.submit_many(mixed), list[JobHandle[str | Caption]])


def a_handle_is_found_again(manager: ScopedManager) -> None:
    assert_type(manager.handle("job_1", caption), JobHandle[Caption])
    assert_type(manager.handle("job_1", tokens), JobHandle[list[str]])
    assert_type(manager.handle("job_1"), JobHandle[Any])


async def by_name_nothing_is_typed(manager: ScopedManager) -> None:
    assert_type(manager.model("caption"), Model[..., Any, Any])
    assert_type(await manager.submit(manager.model("caption"), image=b""), JobHandle[Any])
    assert_type(await manager.submit(manager.model("caption").options(priority=2), image=b""), JobHandle[Any])


async def a_remote_job_gives_what_its_caller_asks_for(client: AsyncClient) -> None:
    job = assert_type(await client.submit("caption", {"image": b""}, priority=1), AsyncRemoteJob)
    assert_type(await job.result(type=Caption), Caption)
    assert_type(await job.result(1.0), Any)
    assert_type(await job, Any)
    assert_type(job.stream(type=str), AsyncGenerator[str, None])
    assert_type(job.stream(), AsyncGenerator[Any, None])


def a_remote_job_without_asyncio_does_too(client: Client) -> None:
    job = assert_type(client.job("job_1"), RemoteJob)
    assert_type(job.result(type=list[Caption]), list[Caption])
    assert_type(job.result(), Any)
    assert_type(job.stream(type=str), Generator[str, None, None])
