"""When the next attempt at a delivery is due, and when there is none."""

from __future__ import annotations

SCHEDULE = (0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Seconds before each attempt: ten in all, over 75 hours. As Svix has it, longer at the end."""
JITTER = 0.2
LONGEST_RETRY_AFTER = 86_400.0
"""A receiver that asks for more gets this."""


def delay_after(attempts: int, retry_after: float | None, random: float) -> float | None:
    """Return the seconds before the next attempt, or None when `attempts` were all there are.

    `retry_after` is what a receiver that answered 429 or 503 asked for: it is waited for at least. `random` is drawn
    from [0, 1).
    """
    if attempts >= len(SCHEDULE):
        return None
    delay = SCHEDULE[attempts] * (1 + JITTER * (2 * random - 1))
    return delay if retry_after is None else max(delay, min(retry_after, LONGEST_RETRY_AFTER))
