"""The parser of event streams, against the rules of the WHATWG specification."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncinfer.client._sse import EventStreamParser, Message, StreamTooLong


def parse(*chunks: bytes) -> list[Message]:
    parser = EventStreamParser()
    return [message for chunk in chunks for message in parser.feed(chunk)]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_line_ends_with_lf_cr_or_both(end: bytes) -> None:
    text = end.join([b"id: 7", b"event: output", b"data: a", b"data: b", b"", b""])

    assert parse(text) == [Message("output", "a\nb", "7")]


def test_mixed_line_ends_are_one_each() -> None:
    assert parse(b"data: a\r\ndata: b\rdata: c\n\r\n") == [Message("message", "a\nb\nc", "")]


STREAM = (
    b'\xef\xbb\xbfretry: 2000\r\n\r\n: comment\r\nid: 1\r\nevent: status\r\ndata: {"a":"\xc3\xa4\xe2\x82\xac"}\r\n\r\n'
    b"data:no space\rdata:  two spaces\r\revent: progress\ndata\n\nid\ndata: x\n\n"
)
MESSAGES = [
    Message("status", '{"a":"ä€"}', "1"),
    Message("message", "no space\n two spaces", "1"),
    Message("progress", "", "1"),
    Message("message", "x", ""),
]


def test_a_whole_stream_is_read_at_once() -> None:
    assert parse(STREAM) == MESSAGES


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_a_stream_may_be_split_anywhere(cut: int) -> None:
    assert parse(STREAM[:cut], STREAM[cut:]) == MESSAGES


def test_a_stream_may_come_byte_by_byte() -> None:
    assert parse(*(STREAM[at : at + 1] for at in range(len(STREAM)))) == MESSAGES


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_any_bytes_read_the_same_however_they_are_split(data: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]

    assert parse(*(data[a:b] for a, b in itertools.pairwise(bounds))) == parse(data)


def test_only_the_first_byte_order_mark_is_taken_away() -> None:
    assert parse(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [Message("message", "a", "")]


def test_a_message_without_data_is_none_but_its_id_counts() -> None:
    parser = EventStreamParser()

    assert parser.feed(b"id: 9\nevent: status\n\n") == []
    assert parser.last_id == "9"
    assert parser.feed(b"data: a\n\n") == [Message("message", "a", "9")]


def test_an_id_with_nul_is_ignored() -> None:
    assert parse(b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n") == [
        Message("message", "a", "1"),
        Message("message", "b", "1"),
    ]


def test_a_message_that_the_end_cuts_is_none() -> None:
    assert parse(b"data: a\n\ndata: b\n") == [Message("message", "a", "")]


def test_an_unknown_field_is_ignored() -> None:
    assert parse(b"dat: a\n:data: a\nDATA: a\ndata: b\n\n") == [Message("message", "b", "")]


@pytest.mark.parametrize(("line", "seconds"), [(b"retry: 2500", 2.5), (b"retry: 2.5", None), (b"retry: -1", None)])
def test_a_reconnection_time_is_digits(line: bytes, seconds: float | None) -> None:
    parser = EventStreamParser()
    parser.feed(line + b"\n")

    assert parser.retry == seconds


@pytest.mark.parametrize("text", [b"data: " + b"x" * 200, b"data: xxxxxxxxx\n" * 20])
def test_a_line_or_message_beyond_the_bound_is_refused(text: bytes) -> None:
    parser = EventStreamParser(max_bytes=100)

    with pytest.raises(StreamTooLong, match="100"):
        parser.feed(text)
