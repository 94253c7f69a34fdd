"""The models whose types the other files of this folder check; one of each kind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from typing import Any

from msgspec import Struct

from asyncinfer import Batch, model


class Caption(Struct):
    text: str


class Item(Struct):
    image: bytes


@model
async def echo(text: str) -> str:
    return text


@model
def caption(image: bytes, *, lang: str = "en") -> Caption:
    return Caption(text=lang)


@model(executor="thread", time_limit=10)
def scale(number: float, by: float = 2.0) -> float:
    return number * by


@model(name="soon")
async def echo_soon(text: str) -> str:
    return text


@model
def tokens(text: str) -> Iterator[str]:
    yield text


@model
def generated(limit: int) -> Generator[int, None, None]:
    yield limit


@model
async def tokens_soon(text: str) -> AsyncIterator[str]:
    yield text


@model(queue="streams")
async def counted(limit: int) -> AsyncIterator[int]:
    yield limit


@model
def anything(value: int) -> Any:
    return value


@model(queue="any")
def anything_else(value: int) -> Any:
    return value


@model
def nothing() -> None:
    return None


@model
def later(text: str) -> Coroutine[Any, Any, int]:
    raise NotImplementedError


class Embed:
    def predict(self, text: str) -> list[float]:
        return [0.0]


class EmbedSoon:
    async def predict(self, text: str) -> list[float]:
        return [0.0]


class EmbedStream:
    def predict(self, text: str) -> Iterator[float]:
        yield 0.0


class EmbedStreamSoon:
    async def predict(self, text: str) -> AsyncIterator[float]:
        yield 0.0


class EmbedAnything:
    def predict(self, text: str) -> Any:
        return text


class Classify:
    def predict_batch(self, items: list[Item]) -> list[str | Exception]:
        return ["cat" for _ in items]


class ClassifySoon:
    async def predict_batch(self, items: list[Item]) -> list[str | Exception]:
        return ["cat" for _ in items]


embed = model(Embed)
embed_soon = model(EmbedSoon, executor="loop")
embed_stream = model(EmbedStream)
embed_stream_soon = model(EmbedStreamSoon)
embed_anything = model(EmbedAnything)
classify = model(Classify, batch=Batch(max_size=32))
classify_soon = model(ClassifySoon)
