"""What both type checkers must refuse. Never run.

Each wrong line ignores exactly its own error: a line that is accepted again is reported as an unneeded ignore by both.
"""

from __future__ import annotations

from asyncinfer import JobHandle, ScopedManager, Submission, model
from asyncinfer.client import AsyncClient
from tests.typing.models import Caption, Item, caption, classify, echo, embed, scale, tokens


def a_wrong_call_is_refused() -> None:
    caption("image")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    caption(b"", "fr")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    caption(b"", lng="fr")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    caption()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    embed(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    classify("image")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_wrong_input_is_refused() -> None:
    echo.bind(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    echo.bind()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    echo.bind("a", "b")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    caption.bind(b"", lang=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    caption.bind(img=b"")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    embed.bind(text=b"")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    classify.bind([Item(image=b"")])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    scale.bind("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_wrong_option_is_refused() -> None:
    echo.options(priority="high")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    echo.options(priorty=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    echo.options(webhook=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    echo.options(retry=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    model(timeout=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    model(name=1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


async def a_wrong_submit_is_refused(manager: ScopedManager) -> None:
    await manager.submit(echo, 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await manager.submit(echo)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await manager.submit(caption, b"", "fr")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await manager.submit(caption, b"", lng="fr")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await manager.submit("caption", b"")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await manager.submit(echo.options(priority=1), 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def a_wrong_result_is_refused(manager: ScopedManager) -> None:
    text: str = await (await manager.submit(caption, b""))  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    other: JobHandle[str] = manager.handle("job_1", caption)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    bound: Submission[str] = caption.bind(b"")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    job = await manager.submit(scale, 1.0)
    job.stream()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    listed: Caption = tokens.decode_result(b"")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del text, other, bound, listed


async def a_wrong_remote_call_is_refused(client: AsyncClient) -> None:
    await client.submit("caption", {}, priorty=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await client.submit("caption", {}, priority="high")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.jobs(state="queued")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    client.jobs(status="done")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    text: str = await client.job("job_1").result(type=Caption)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
    del text
