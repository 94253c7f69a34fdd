"""The wait before another attempt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncinfer import RetryPolicy
from asyncinfer._job import Backoff
from asyncinfer._retry import delay_after
from asyncinfer.errors import InvalidOption

PLAIN = Backoff(initial_delay=1_000, max_delay=60_000, multiplier=2.0, jitter=0.0)


@pytest.mark.parametrize(("failures", "delay"), [(1, 1_000), (2, 2_000), (3, 4_000), (7, 60_000), (10_000, 60_000)])
def test_the_delay_doubles_up_to_its_maximum(failures: int, delay: int) -> None:
    assert delay_after(failures, PLAIN, 0.5) == delay


@given(st.integers(1, 100), st.floats(0, 1, exclude_max=True))
def test_jitter_spreads_the_delay_by_its_share_and_no_more(failures: int, random: float) -> None:
    jittered = Backoff(initial_delay=1_000, max_delay=60_000, multiplier=2.0, jitter=0.2)
    middle = delay_after(failures, PLAIN, 0.5)
    assert 0.8 * middle - 1 <= delay_after(failures, jittered, random) <= 1.2 * middle + 1


def test_the_stored_part_of_a_policy_is_in_milliseconds() -> None:
    policy = RetryPolicy(initial_delay=0.25, max_delay=1.5, multiplier=3, jitter=0.1)
    assert policy.backoff == Backoff(initial_delay=250, max_delay=1_500, multiplier=3, jitter=0.1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_attempts", 0),
        ("initial_delay", -1.0),
        ("max_delay", 0.5),
        ("multiplier", 0.5),
        ("jitter", 1.5),
        ("retry_on", (BaseException,)),
        ("retry_on", ValueError),
    ],
)
def test_a_wrong_policy_names_its_parameter(name: str, value: object) -> None:
    wrong: dict[str, object] = {name: value}
    with pytest.raises(InvalidOption, match=name):
        RetryPolicy(**wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  what is tried
