"""How much an application may have waiting to be stored."""

import pytest

from numbering_service.creation import Creation
from numbering_service.creations import window
from numbering_service.creations.window import Backlog
from web.problems import Overloaded

LOUD, QUIET = "L" * 24, "Q" * 24


def posts(token: str, *sizes: int) -> list[Creation]:
    return [Creation(token, 1, "x" * size, "r") for size in sizes]


def is_refused(waiting: Backlog, token: str, size: int = 1) -> bool:
    try:
        waiting.check(token, size)
    except Overloaded:
        return True
    return False


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Backlog:
    """A backlog where one application has all that it may; no request goes through to ask."""
    monkeypatch.setattr(window, "PROBE_SECONDS", 1000)
    waiting = Backlog(100)
    waiting.add((1, 0), posts(LOUD, 60))
    waiting.add((2, 0), posts(LOUD, 40) + posts(QUIET, 5))
    waiting.stored_before((1, 0))
    assert not is_refused(waiting, LOUD), "the first asks how far persisting is"
    return waiting


def test_who_has_too_much_waiting_is_refused_and_nobody_else(full: Backlog) -> None:
    assert is_refused(full, LOUD)
    assert not is_refused(full, QUIET, 95)
    assert not is_refused(full, "N" * 24, 1000), "one body fits, whatever its size"


def test_what_is_stored_makes_room(full: Backlog) -> None:
    full.stored_before((2, 0))
    assert not is_refused(full, LOUD, 60)
    assert is_refused(full, LOUD, 61)
    full.stored_before((2, 1))
    assert not is_refused(full, LOUD, 1000)


def test_without_a_persister_nobody_is_refused(full: Backlog) -> None:
    full.stored_before(None)
    assert not is_refused(full, LOUD, 1000)
    full.stored_before((1, 0))
    assert is_refused(full, LOUD)


def test_one_refused_goes_through_now_and_then(
    full: Backlog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "PROBE_SECONDS", 0)
    full.add((3, 0), posts(QUIET, 1))
    monkeypatch.setattr(window, "monotonic", lambda: 1e12)
    assert [is_refused(full, LOUD) for _ in range(2)] == [False, False]


def test_a_long_backlog_takes_no_more_memory_and_is_forgotten_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window, "MAX_BATCHES", 3)
    waiting = Backlog(100)
    for number in range(1, 1000):
        waiting.add((number, 0), posts(LOUD, 1))
    waiting.stored_before((999, 0))
    assert is_refused(waiting, LOUD, 101) is False
    assert is_refused(waiting, LOUD, 101), "all but two batches are as old as the newest"
    waiting.stored_before((999, 1))
    assert not is_refused(waiting, LOUD, 1000)
