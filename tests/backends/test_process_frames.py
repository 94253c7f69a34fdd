"""What a worker process says is read within bounds: what is no frame, too large or out of turn ends it."""

from __future__ import annotations

import socket
import threading

import msgspec
import pytest

from asyncinfer_process._channel import MAGIC, MAX_HEAD, PREFIX, BrokenFrame, Channel, Gone, frame
from asyncinfer_process._messages import UP_HEADS, Ended, Ending, Ready, Said, Telling, Up
from tests.backends import process_models as models
from tests.backends.process_stage import error_of, stage

PART = 100_000


def channels() -> tuple[socket.socket, Channel[Up]]:
    theirs, ours = socket.socketpair()
    return theirs, Channel(ours, UP_HEADS, PART)


def raw(message: object, *parts: bytes) -> bytes:
    return b"".join(frame(message, parts))


@pytest.mark.parametrize("parts", [[], [b""], [b"a", b"", b"bc"], [b"x" * PART, b"", b"y"], [b"z" * 20_000] * 3])
def test_parts_arrive_as_they_were_sent(parts: list[bytes]) -> None:
    theirs, ours = channels()
    with theirs:
        threading.Thread(target=theirs.sendall, args=[raw(Ready(), *parts)], daemon=True).start()
        message, received = ours.receive()
        ours.leave()

    assert (message, list(received)) == (Ready(), parts)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        PREFIX.pack(MAGIC, MAX_HEAD + 1),
        PREFIX.pack(MAGIC, 3) + b"\xc1\xc1\xc1",
        PREFIX.pack(MAGIC, 1) + msgspec.msgpack.encode(7),
        raw({"type": "Unheard"}),
        raw(Ready(), b"x" * (PART + 1)),
        raw({"type": "Said", "tellings": ["no telling"]}),
    ],
)
def test_what_is_no_frame_or_too_large_is_refused(data: bytes) -> None:
    theirs, ours = channels()
    with theirs:
        threading.Thread(target=theirs.sendall, args=[data], daemon=True).start()
        with pytest.raises(BrokenFrame):
            ours.receive()
        ours.leave()


def test_a_frame_that_is_cut_short_is_the_end() -> None:
    theirs, ours = channels()
    theirs.sendall(raw(Ready(), b"abc")[:-1])
    theirs.close()
    with pytest.raises(Gone):
        ours.receive()
    ours.leave()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"what a print to the wrong descriptor does", "a frame begins with"),
        (raw(Ready()), "it has loaded a model that it was not asked for"),
        (raw(Ended((Ending("returned", None, None),) * 2), b"", b""), "it ended more or fewer jobs than it was given"),
        (raw(Said((Telling(1, None, 0, False),))), "it told what is not there or too much"),
        (raw(Said((Telling(0, None, 2, False),)), b"\x01"), "it told what is not there or too much"),
    ],
)
async def test_a_process_that_breaks_the_rules_is_ended_and_others_go_on(said: bytes, why: str) -> None:
    async with stage(2) as one:
        neighbour = one.begin(one.call(models.pass_gate, {"gate": one.gate.address, "name": "b"}))
        await one.gate.entered("b")
        outcome = await one.outcome(models.say, raw=said)
        one.gate.open("b")

        assert (outcome.kind, error_of(outcome).code) == ("worker_lost", "worker_lost")
        assert error_of(outcome).message.startswith("the worker process died of SIGKILL: ")
        assert why in error_of(outcome).message
        assert (await neighbour)[0].kind == "returned"


async def test_a_second_answer_is_not_taken_for_that_of_the_next_call() -> None:
    async with stage() as one:
        twice = raw(Ended((Ending("returned", None, None),)), b"\x07")
        outcome = await one.outcome(models.say, raw=twice + twice)

        assert outcome.result == b"\x07"
        assert await one.result(models.double, number=4) == 8


async def test_a_process_that_has_closed_its_connection_is_ended() -> None:
    async with stage(kill_after=0.1) as one:
        outcome = await one.outcome(models.hang_up)

    assert outcome.kind == "worker_lost"
