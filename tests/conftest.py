import signal
from typing import Literal, get_args

import pytest

# The suites are library code, so their asserts explain themselves only when named before the first import.
pytest.register_assert_rewrite("asyncinfer.testing")

Size = Literal["pr", "rel"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--size",
        choices=get_args(Size),
        default="pr",
        help="how much a fault test breaks: pr for each change (default), rel before a release",
    )


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> Size:
    """Return the size a fault test runs at, "pr" or "rel"."""
    return "rel" if request.config.getoption("--size") == "rel" else "pr"


@pytest.fixture(scope="session", autouse=True)
def heed_interrupts() -> None:
    """A shell that starts the tests in the background ignores SIGINT, and every child would inherit that."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
