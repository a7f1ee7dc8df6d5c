"""Who sends faster than messages are stored."""

from collections import deque
from typing import Any

import pytest

from numbering_service.creation import AnyCreation, Bulk, Creation
from numbering_service.creations.window import (
    DELAY_SECONDS,
    MAX_PART,
    MIN_FLOODS,
    MIN_PART_OF_ALL,
    SILENT_SECONDS,
    STALL_SECONDS,
    Window,
)

LOUD, QUIET = "L" * 24, "Q" * 24


class Clock:
    """The time, which stands still unless a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def window(clock: Clock, **settings: Any) -> Window:
    """A window in which an application may be 100 bytes ahead, and never more."""
    sizes = {"min_ahead_bytes": 100, "max_ahead_bytes": 100, "row_bytes": 0, "step_bytes": 0}
    return Window(**(sizes | settings), clock=clock)


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
    """Take creations and have them accepted as the batch whose last entry has this number."""
    for creation in creations:
        assert held.take(creation)
    held.accept((number, 0), creations)


@pytest.fixture
def full(clock: Clock) -> Window:
    """A window in which one application is as far ahead as it may be."""
    held = window(clock)
    accept(held, 1, post(LOUD, 60))
    accept(held, 2, post(LOUD, 40), post(QUIET, 5))
    held.stored_before((1, 0))
    return held


def test_an_application_that_is_too_far_ahead_has_no_room_and_all_others_have(
    full: Window,
) -> None:
    assert not has_room(full, LOUD)
    assert has_room(full, QUIET, 95)
    assert not has_room(full, QUIET, 96)
    assert has_room(full, "N" * 24, 1000), "one body fits, whatever its size"


def test_creations_in_flight_count(clock: Clock) -> None:
    held = window(clock)
    assert held.take(post(LOUD, 60))
    assert not has_room(held, LOUD, 60)


def test_what_is_stored_is_granted_whoever_sent_it(clock: Clock) -> None:
    held = window(clock)
    accept(held, 1, post(LOUD, 100))
    accept(held, 2, post(QUIET, 30))
    accept(held, 3, post("N" * 24, 20))
    clock.now += DELAY_SECONDS
    held.stored_before((2, 0))
    assert has_room(held, LOUD, 100)
    assert held.take(post(LOUD, 70))
    held.stored_before((3, 0))
    assert has_room(held, LOUD, 60)
    assert not has_room(held, LOUD, 61)


def test_everything_is_forgotten_once_it_is_stored(full: Window) -> None:
    full.stored_before((2, 1))
    assert has_room(full, LOUD, 1000)


def test_without_a_persister_everything_has_room(full: Window, clock: Clock) -> None:
    full.stored_before(None)
    assert not has_room(full, LOUD), "one may be starting"
    clock.now += SILENT_SECONDS + 0.1
    full.stored_before(None)
    assert full.take(post(LOUD, 1000))
    full.stored_before((2, 0))
    assert full.take(post(LOUD, 100)), "what came in the meantime counts for nothing"
    assert not has_room(full, LOUD)


def test_a_persister_without_progress_counts_as_none(full: Window, clock: Clock) -> None:
    clock.now += STALL_SECONDS / 2
    full.stored_before((1, 0))
    assert not has_room(full, LOUD)
    clock.now += STALL_SECONDS / 2 + 0.1
    assert full.take(post(LOUD, 1000))
    full.stored_before((2, 0))
    assert full.take(post(LOUD, 100)), "what came in the meantime counts for nothing"
    assert not has_room(full, LOUD)


def test_what_has_no_text_counts_by_its_rows(clock: Clock) -> None:
    held = window(clock, row_bytes=10)
    bulk = Bulk((post(LOUD, 1),) * 5)
    accept(held, 2, Creation(LOUD, None, "", "r"), bulk)
    assert has_room(held, LOUD, 25)
    assert not has_room(held, LOUD, 26)
    assert not held.take(bulk)


@pytest.mark.parametrize("reported", [[], [(2, 0)], [(2, 0), None]])
def test_a_burst_behind_a_pause_is_limited_from_its_beginning(
    clock: Clock, reported: list[tuple[int, int] | None]
) -> None:
    """Nothing was stored for a while because there was nothing to store."""
    held = window(clock)
    for each in reported:
        held.stored_before(each)
    clock.now += 60
    assert held.take(post(LOUD, 90))
    assert not has_room(held, LOUD, 90)
    assert has_room(held, QUIET, 90)


@pytest.mark.parametrize(
    ("delay", "part"),
    [
        (0.0, MAX_PART),
        (DELAY_SECONDS, 1.0),
        (2 * DELAY_SECONDS, 0.25),
        (4 * DELAY_SECONDS, MIN_PART_OF_ALL / MIN_FLOODS),
        (1_000_000.0, MIN_PART_OF_ALL / MIN_FLOODS),
    ],
)
def test_what_was_stored_late_is_granted_in_part(clock: Clock, delay: float, part: float) -> None:
    held = window(clock, min_ahead_bytes=1000, max_ahead_bytes=1000)
    accept(held, 1, post(LOUD, 1000))
    accept(held, 2, post(QUIET, 1))
    clock.now += delay
    held.stored_before((2, 0))
    room = int(1000 * part)
    assert has_room(held, LOUD, min(room, 1000))
    assert part >= 1 or not has_room(held, LOUD, room + 1)


def test_the_window_grows_while_the_persister_runs_out_of_work(clock: Clock) -> None:
    held = window(clock, max_ahead_bytes=400)

    def store(number: int, delay: float, *, is_short: bool) -> None:
        accept(held, number, post(LOUD, 50))
        if is_short:
            assert not has_room(held, LOUD, 1000)
        clock.now += delay
        held.stored_before((number, 1))

    def size() -> int:
        assert held.take(post(LOUD, 1))
        return 1 + next(n for n in range(1000) if not has_room(held, LOUD, n + 1))

    for number in (1, 2, 3, 4):
        store(number, 0.01, is_short=True)
    assert size() == 400
    store(5, DELAY_SECONDS * 2, is_short=True)
    assert size() == 200


def test_a_window_that_is_large_enough_stays(clock: Clock) -> None:
    held = window(clock, max_ahead_bytes=400)
    for number in (1, 2, 3):
        accept(held, number, post(LOUD, 50))
        held.stored_before((number, 1))
    assert held.take(post(LOUD, 50))
    assert not has_room(held, LOUD, 51)


def test_those_that_have_caught_up_are_forgotten(clock: Clock) -> None:
    held = window(clock)
    for number in range(1, 20_001):
        accept(held, number, post(f"{number:024}", 1))
        if number > 10:
            held.stored_before((number - 10, 0))
    assert len(held._positions) < 5_000


class Storage:
    """Stores entries at a fixed speed, in batches, and reports one when it is stored wholly."""

    MOST = 4_000

    def __init__(self, held: Window, clock: Clock, rows_a_second: float) -> None:
        self.held, self.clock, self.speed = held, clock, rows_a_second
        self.waiting: deque[tuple[float, str]] = deque()
        self.sent, self.stored = 0, 0
        self.batch, self.credit = 0, 0.0
        self.slowest = 0.0

    def send(self, token: str, number: int, *, is_ours: bool = True) -> int:
        """Send what has room, and have it accepted; return how many that are."""
        creation = post(token, 1)
        taken = number
        if is_ours:
            taken = next((n for n in range(number) if not self.held.take(creation)), number)
        self.sent += taken
        self.waiting.extend([(self.clock(), token)] * taken)
        if is_ours and taken:
            self.held.accept((self.sent, 0), [creation] * taken)
        return taken

    def work(self, seconds: float) -> None:
        """Let time pass, and report what is stored then."""
        self.clock.now += seconds
        self.credit += seconds * self.speed
        while self.batch or self.waiting:
            self.batch = self.batch or min(len(self.waiting), self.MOST)
            if self.credit < self.batch:
                break
            self.credit -= self.batch
            self.stored += self.batch
            for at, token in (self.waiting.popleft() for _ in range(self.batch)):
                if token == QUIET:
                    self.slowest = max(self.slowest, self.clock() - at)
            self.batch = 0
        if not self.waiting:
            self.credit = 0.0
        self.held.stored_before((self.stored + 1, 0))


# The first thousand messages of each take a while where storing is slow.
@pytest.mark.parametrize(
    ("rows_a_second", "floods", "limit"),
    [(1_000, 1, 2.5), (5_000, 1, 0.8), (20_000, 1, 0.6), (10_000, 8, 2.5), (10_000, 24, 6)],
)
def test_floods_cost_their_neighbour_little(
    clock: Clock, rows_a_second: int, floods: int, limit: float
) -> None:
    """And nothing of the speed at which messages are stored."""
    storage = Storage(Window(clock=clock), clock, rows_a_second)
    for _ in range(500):
        storage.send(QUIET, 1)
        for number in range(floods):
            storage.send(f"{number:024}", 500)
        storage.work(0.02)
    assert storage.stored > 0.9 * 10 * rows_a_second
    assert storage.slowest < limit
    assert len(storage.waiting) < 1.5 * rows_a_second


def let_pass(storage: Storage, owner: str, seconds: int, batches: int, rows: int) -> None:
    """Let an outage pass, in which so many batches are sent a second, of so many messages."""
    storage.send(owner, 1)
    storage.held.stored_before((1, 0))
    for _ in range(seconds * batches):
        storage.clock.now += 1 / batches
        storage.send(owner, rows)


@pytest.mark.parametrize("owner", [QUIET, LOUD])
def test_nobody_waits_for_a_backlog(clock: Clock, owner: str) -> None:
    """A twentieth of what is stored is never held back, be the backlog its own or another's."""
    storage = Storage(Window(clock=clock), clock, 8_000)
    let_pass(storage, owner, 150, 60, 25)
    assert len(storage.waiting) > 200_000
    while storage.waiting:
        assert storage.send(QUIET, 8) == 8
        storage.work(0.02)


def test_nobody_waits_for_what_another_process_has_accepted(clock: Clock) -> None:
    """Or this one before it was restarted."""
    storage = Storage(Window(clock=clock), clock, 8_000)
    storage.send(LOUD, 250_000, is_ours=False)
    while storage.waiting:
        assert storage.send(QUIET, 2) == 2
        storage.work(0.02)


def test_a_reply_that_tells_nothing_lets_nobody_in(full: Window, clock: Clock) -> None:
    clock.now += 1
    full.stored_before(None)
    assert not has_room(full, LOUD)
    clock.now += SILENT_SECONDS / 2
    full.stored_before(None)
    full.stored_before((1, 0))
    clock.now += SILENT_SECONDS
    full.stored_before(None)
    assert not has_room(full, LOUD)


def test_what_its_own_reply_did_not_tell_is_found_stored_later(clock: Clock) -> None:
    held = window(clock)
    held.stored_before((9, 0))
    accept(held, 3, post(LOUD, 100))
    held.stored_before((9, 0))
    assert has_room(held, LOUD, 100)


def test_a_long_backlog_takes_bounded_memory_and_is_granted_evenly(clock: Clock) -> None:
    held = window(clock, max_batches=64)
    for number in range(1, 100_001):
        clock.now += 0.01
        held.accept((number, 0), [post(QUIET, 1)])
        assert len(held._batches) <= 64
    sizes = [batch.size for batch in held._batches]
    assert sum(sizes) == 100_000
    assert max(sizes) < 10_000
