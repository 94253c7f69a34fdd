from collections.abc import Callable
from typing import Any

import pytest

from asyncinfer import MemoryBudget, Resources
from asyncinfer._services.ledger import Ledger
from asyncinfer._services.shares import Shares
from asyncinfer.errors import InvalidOption


def wrong(kind: Any, **options: Any) -> Any:
    return kind(**options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: wrong(Resources, slots=0), "Resources.slots: expected an int from 1 to 10000, got 0"),
        (lambda: wrong(Resources, slots=True), "Resources.slots"),
        (lambda: wrong(Resources, memory=-1), "Resources.memory: expected an int from 0"),
        (lambda: wrong(Resources, device_memory=1.5), "Resources.device_memory"),
        (
            lambda: wrong(Resources, device_share=1.01),
            "Resources.device_share: expected a number from 0 to 1, got 1.01",
        ),
        (lambda: wrong(Resources, device_share=float("nan")), "Resources.device_share"),
        (lambda: wrong(Resources, pinned=1), "Resources.pinned: expected a bool"),
        (lambda: wrong(MemoryBudget, host=-1), "MemoryBudget.host"),
        (lambda: wrong(MemoryBudget, device="4 GiB"), "MemoryBudget.device: expected an int"),
        (lambda: wrong(MemoryBudget, device={0: -1}), r"MemoryBudget.device\[0\]: expected an int"),
        (lambda: wrong(MemoryBudget, device={-1: 1}), "MemoryBudget.device: an index: expected an int from 0"),
        (lambda: wrong(MemoryBudget, idle_seconds=-1), "MemoryBudget.idle_seconds"),
    ],
)
def test_a_wrong_number_is_named(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        make()


LARGE = Resources(memory=60, device_memory=7)


@pytest.mark.parametrize(
    ("budget", "copies", "devices", "need"),
    [
        (MemoryBudget(), 1, (), {}),
        (MemoryBudget(host=100), 1, (), {"host": 60}),
        (MemoryBudget(host=100), 3, (), {"host": 180}),
        (MemoryBudget(device=10), 1, (), {"device 0": 7}),
        (MemoryBudget(device={1: 10}), 1, (), {}),
        (MemoryBudget(device={1: 10}), 4, (0, 1), {"device 1": 14}),
        (MemoryBudget(device=10), 3, (2, 5), {"device 2": 14, "device 5": 14}),
    ],
)
def test_a_model_needs_its_bytes_for_every_copy(
    budget: MemoryBudget, copies: int, devices: tuple[int, ...], need: dict[str, int]
) -> None:
    assert Ledger(budget).need(LARGE, copies=copies, devices=devices) == need


def test_what_is_above_a_bound_is_told_by_place() -> None:
    ledger = Ledger(MemoryBudget(host=100, device=10))
    needs = [{"host": 60}, {"host": 40, "device 0": 10}]
    assert ledger.excess(needs) == {}
    assert ledger.excess([*needs, {"host": 1}]) == {"host": 1}
    assert ledger.excess([*needs, {"device 0": 5}, {"device 1": 10}]) == {"device 0": 5}


@pytest.mark.parametrize(
    ("need", "kept", "candidates", "victims"),
    [
        ({"host": 40}, [], {"old": {"host": 60}}, []),
        ({"host": 50}, [], {"old": {"host": 60}}, ["old"]),
        ({"host": 50}, [], {"old": {"host": 30}, "new": {"host": 30}}, ["old"]),
        ({"host": 90}, [], {"old": {"host": 30}, "new": {"host": 30}}, ["old", "new"]),
        ({"host": 50}, [{"host": 60}], {"old": {"host": 30}}, None),
        ({"host": 50}, [{"host": 20}], {"old": {"device 0": 9}, "new": {"host": 60}}, ["new"]),
        ({"host": 50, "device 0": 5}, [], {"old": {"device 0": 9}, "new": {"host": 60}}, ["old", "new"]),
    ],
)
def test_the_longest_idle_go_first_and_only_those_that_help(
    need: dict[str, int], kept: list[dict[str, int]], candidates: dict[str, dict[str, int]], victims: list[str] | None
) -> None:
    assert Ledger(MemoryBudget(host=100, device=10)).victims(need, kept, candidates) == victims


def test_calls_fill_a_device_and_no_more() -> None:
    shares = Shares()
    for _ in range(10):
        assert shares.fits(0.1, ())
        shares.take(0.1, ())
    assert not shares.fits(0.1, ())
    shares.give_back(0.1, 0)
    assert shares.fits(0.1, ())


def test_a_call_goes_to_the_device_that_is_the_least_busy() -> None:
    shares = Shares()
    assert [shares.take(0.6, (0, 1)) for _ in range(2)] == [0, 1]
    assert not shares.fits(0.6, (0, 1))
    assert shares.fits(0.4, (0, 1))


def test_executors_share_the_devices_that_both_use() -> None:
    shares = Shares()
    shares.take(0.5, ())
    assert not shares.fits(0.6, (0,))
    assert shares.fits(0.6, (0, 1))


def test_a_copy_is_a_copy() -> None:
    shares = Shares()
    shares.copy().take(1.0, ())
    assert shares.fits(1.0, ())
