"""Ids are sortable by time and unguessable."""

import re

from asyncinfer._job import JobIds


def test_an_id_is_the_prefix_and_26_digits_of_the_alphabet() -> None:
    assert re.fullmatch(r"job_[0-9A-HJKMNP-TV-Z]{26}", JobIds()(1_700_000_000_000))


def test_ids_of_later_milliseconds_sort_later() -> None:
    new_id = JobIds()
    stamps = [0, 1, 31, 32, 1_023, 1_024, 1_700_000_000_000, 2**48 - 1]
    ids = [new_id(stamp) for stamp in stamps]
    assert ids == sorted(ids)


def test_ids_of_one_millisecond_differ() -> None:
    new_id = JobIds()
    assert len({new_id(7) for _ in range(10_000)}) == 10_000


def test_the_time_of_an_id_can_be_read_back() -> None:
    digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    number = 0
    for letter in JobIds()(1_763_800_000_123)[4:14]:
        number = number * 32 + digits.index(letter)
    assert number == 1_763_800_000_123
