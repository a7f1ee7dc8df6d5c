"""Fixtures of feeds and streams without stores."""

from collections.abc import Iterator

import pytest

from tests.unit.crud.live.fake_feeds import Clock, Reads, clock_running


@pytest.fixture
def clock() -> Iterator[Clock]:
    with clock_running() as clock:
        yield clock


@pytest.fixture
def reads() -> Reads:
    return Reads()
