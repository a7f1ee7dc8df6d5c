"""How much an application may have waiting to be stored."""

from typing import Any

import pytest

from numbering_service.creation import AnyCreation, Bulk, Creation
from numbering_service.creations.window import DELAY_SECONDS, STALL_SECONDS, Window

LOUD, QUIET = "L" * 24, "Q" * 24


def fixed(row_bytes: int = 0, **settings: Any) -> Window:
    """A window of 100 bytes, however long batches take."""
    return Window(100, 100, row_bytes=row_bytes, **settings)


def post(token: str, size: int) -> Creation:
    return Creation(token, 1, "x" * size, "r")


def has_room(held: Window, token: str, size: int = 1) -> bool:
    """Return whether a creation has room; one that has is given back."""
    creation = post(token, size)
    if not held.take(creation):
        return False
    held.give_back(creation)
    return True


def accept(held: Window, number: int, *creations: AnyCreation) -> None:
    for creation in creations:
        assert held.take(creation)
    held.accept((number, 0), creations)


@pytest.fixture
def now() -> list[float]:
    """The time, which stands still unless a test moves it."""
    return [1000.0]


@pytest.fixture
def full(now: list[float]) -> Window:
    """A window in which one application is at its limit."""
    held = fixed(clock=lambda: now[0])
    accept(held, 1, post(LOUD, 60))
    accept(held, 2, post(LOUD, 40), post(QUIET, 5))
    held.stored_before((1, 0))
    return held


def test_an_application_with_too_much_waiting_has_no_room_and_all_others_have(full: Window) -> None:
    assert not has_room(full, LOUD)
    assert has_room(full, QUIET, 95)
    assert has_room(full, "N" * 24, 1000), "one body fits, whatever its size"


def test_creations_in_flight_count(now: list[float]) -> None:
    held = fixed(clock=lambda: now[0])
    held.stored_before((1, 0))
    assert held.take(post(LOUD, 60))
    assert not has_room(held, LOUD, 60)


def test_stored_entries_make_room(full: Window) -> None:
    full.stored_before((2, 0))
    assert has_room(full, LOUD, 60)
    assert not has_room(full, LOUD, 61)
    full.stored_before((2, 1))
    assert has_room(full, LOUD, 1000)


def test_without_a_persister_everything_has_room(full: Window, now: list[float]) -> None:
    full.stored_before(None)
    assert not has_room(full, LOUD), "one may be starting"
    now[0] += STALL_SECONDS + 0.1
    full.stored_before(None)
    assert has_room(full, LOUD, 1000)


def test_a_persister_without_progress_counts_as_none(full: Window, now: list[float]) -> None:
    now[0] += STALL_SECONDS / 2
    full.stored_before((1, 0))
    assert not has_room(full, LOUD)
    now[0] += STALL_SECONDS / 2 + 0.1
    assert has_room(full, LOUD, 1000)
    full.stored_before((2, 0))
    assert not has_room(full, LOUD, 1000)


def test_a_long_backlog_takes_bounded_memory_and_is_forgotten_in_the_end(
    now: list[float],
) -> None:
    held = fixed(max_batches=3, clock=lambda: now[0])
    for number in range(1, 1000):
        accept(held, number, post(LOUD, 1))
        now[0] += STALL_SECONDS
    held.stored_before((999, 0))
    assert not has_room(held, LOUD)
    held.stored_before((999, 1))
    assert has_room(held, LOUD, 1000)


def test_what_has_no_text_counts_by_its_rows(now: list[float]) -> None:
    held = fixed(row_bytes=10, clock=lambda: now[0])
    held.stored_before((1, 0))
    chat = Creation(LOUD, None, "", "r")
    bulk = Bulk((post(LOUD, 1),) * 5)
    accept(held, 2, chat, bulk)
    assert has_room(held, LOUD, 25)
    assert not has_room(held, LOUD, 26)
    assert not held.take(bulk)
    held.stored_before((2, 1))
    assert held.take(bulk)
    held.give_back(bulk)
    assert has_room(held, LOUD, 1000)


@pytest.mark.parametrize("reported", [[], [(2, 0)], [(2, 0), None]])
def test_a_burst_behind_a_pause_is_limited_from_its_beginning(
    now: list[float], reported: list[tuple[int, int] | None]
) -> None:
    """Nothing was stored for a while because there was nothing to store."""
    held = fixed(clock=lambda: now[0])
    for each in reported:
        held.stored_before(each)
    now[0] += 60
    assert held.take(post(LOUD, 90))
    assert not has_room(held, LOUD, 90)
    assert has_room(held, QUIET, 90)
    now[0] += STALL_SECONDS + 0.1
    assert has_room(held, LOUD, 90), "nothing is stored for longer than a moment"


def size_after(held: Window, now: list[float], *delays: float, is_short: bool = True) -> int:
    """Return how much has room after batches that took so long to be stored, in turn."""
    for number, delay in enumerate(delays, start=1):
        accept(held, 2 * number, post(LOUD, 1), post(QUIET, 1))
        if is_short:
            assert not has_room(held, LOUD, 10_000)
        accept(held, 2 * number + 1, post(QUIET, 1))
        now[0] += delay
        held.stored_before((2 * number, 1))
        # A batch that was accepted beside it says nothing else.
        held.stored_before((2 * number + 1, 0))
    accept(held, 1000, post(LOUD, 1))
    return next(size for size in range(10_000) if not has_room(held, LOUD, size))


@pytest.mark.parametrize(
    ("delays", "size"),
    [
        ((), 100),
        ((DELAY_SECONDS,), 100),
        ((DELAY_SECONDS / 1.5,), 150),
        ((0,), 200),
        ((0,) * 2, 400),
        ((0,) * 9, 1600),
        ((0, 0, DELAY_SECONDS * 1.6), 250),
        ((0, 0, 1.0), 200),
        ((0, 0) + (1.0,) * 9, 100),
    ],
)
def test_the_window_fits_the_time_that_storing_takes(
    now: list[float], delays: tuple[float, ...], size: int
) -> None:
    held = Window(100, 1600, row_bytes=0, clock=lambda: now[0])
    held.take(post(QUIET, 1))
    assert size_after(held, now, *delays) == size


def test_a_window_that_is_large_enough_does_not_grow(now: list[float]) -> None:
    held = Window(100, 1600, row_bytes=0, clock=lambda: now[0])
    held.take(post(QUIET, 1))
    assert size_after(held, now, 0, 0, 0, is_short=False) == 100


def test_the_window_begins_anew_when_everything_is_stored(now: list[float]) -> None:
    held = Window(100, 1600, row_bytes=0, clock=lambda: now[0])
    held.take(post(QUIET, 1))
    assert size_after(held, now, 0, 0) == 400
    held.give_back(post(QUIET, 1))
    held.stored_before((1001, 0))
    held.take(post(LOUD, 1))
    assert has_room(held, LOUD, 99)
    assert not has_room(held, LOUD, 100)
