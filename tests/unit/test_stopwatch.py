"""A stopwatch of tests leaves out the seconds in which the machine stood still."""

import time

import pytest

from tests.stopwatch import Stopwatch


def test_a_stopwatch_counts_the_seconds_of_its_block() -> None:
    started = time.monotonic()
    with Stopwatch() as watch:
        time.sleep(0.7)
    assert 0.4 < watch.seconds <= time.monotonic() - started


def test_seconds_in_which_the_machine_stood_still_are_not_counted() -> None:
    clock = iter([0.0, 0.1, 5.1, 5.2])
    watch = Stopwatch(clock.__next__)
    for _ in range(3):
        watch.look()
    assert watch.seconds == pytest.approx(0.1 + 0.5 + 0.1)
