import pytest

from asyncinfer._services.setbacks import Setbacks, pause_after
from asyncinfer.abc import JobError

ERROR = JobError(code="model_error", message="no weights")


def after(*instants: float) -> Setbacks:
    setbacks = Setbacks()
    for instant in instants:
        setbacks.failed(ERROR, instant)
    return setbacks


@pytest.mark.parametrize(
    ("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 32), (7, 60), (8, 60), (10_000, 60)]
)
def test_the_pause_doubles_up_to_a_minute(failures: int, seconds: float) -> None:
    assert pause_after(failures) == seconds


def test_a_failure_holds_its_model_off() -> None:
    assert (after(100).until, after(100, 101).until) == (101, 103)


def test_what_was_begun_before_the_pause_counts_as_the_same_setback() -> None:
    setbacks = after(100, 100.1, 100.2)
    assert (setbacks.count, setbacks.until, setbacks.is_persistent) == (1, 101, False)


@pytest.mark.parametrize(
    ("instants", "is_persistent"),
    [((0, 2), False), ((0, 2, 5), True), ((0, 30, 60), True), ((0, 30, 61), False), ((0, 30, 61, 90), True)],
)
def test_three_failures_within_a_minute_are_persistent(instants: tuple[float, ...], is_persistent: bool) -> None:
    assert after(*instants).is_persistent is is_persistent


def test_a_persistent_failure_stays_so_however_long_the_pauses_are() -> None:
    assert after(0, 2, 5, 10, 20, 60, 200).is_persistent


def test_a_success_forgets_everything() -> None:
    setbacks = after(0, 2, 5)
    setbacks.clear()
    assert (setbacks.count, setbacks.until, setbacks.error, setbacks.is_persistent) == (0, 0, None, False)
    setbacks.failed(ERROR, 6)
    assert (setbacks.until, setbacks.is_persistent) == (7, False)
