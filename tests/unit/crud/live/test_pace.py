"""An application's events take a quarter of the loop's time at most, however they are divided."""

import pytest

from crud_service.live.pace import FREE_SECONDS, Pace
from tests.unit.crud.live.fake_feeds import Clock


def share(clock: Clock, pace: Pace, piece: float, seconds: float = 10.0) -> float:
    """The share of the time that is spent by one who always has more to do."""
    end, spent = clock.now + seconds, 0.0
    while clock.now < end:
        clock.pass_seconds(pace.rest + piece)
        pace.spent(piece)
        spent += piece
    return spent / seconds


@pytest.mark.parametrize("piece", [0.0001, 0.001, 0.0019, 0.002, 0.015, 0.1])
def test_a_quarter_of_the_time_is_spent_at_most(clock: Clock, piece: float) -> None:
    assert share(clock, Pace(), piece) < 0.26 + piece / 10


def test_little_now_and_then_is_never_delayed(clock: Clock) -> None:
    pace = Pace()
    for _ in range(1000):
        assert pace.rest == 0
        pace.spent(0.001)
        clock.pass_seconds(0.01)


def test_a_little_at_once_needs_no_rest(clock: Clock) -> None:
    pace = Pace()
    pace.spent(FREE_SECONDS)
    assert pace.rest == 0
    pace.spent(FREE_SECONDS)
    assert pace.rest > 0


def test_many_feeds_that_spend_at_once_rest_together(clock: Clock) -> None:
    pace = Pace()
    for _ in range(100):
        pace.spent(0.001)
    assert 0.38 < pace.rest <= 0.4
    clock.pass_seconds(0.4)
    assert pace.rest == 0
