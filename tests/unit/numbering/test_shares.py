"""No application takes all the room for waiting creations."""

import pytest

from numbering_service.creations.shares import Shares
from web.problems import Overloaded


def take_all(shares: Shares, *tokens: str, size: int = 1) -> dict[str, int]:
    """Let applications take places in turn until all are refused; return how many each got."""
    taken = dict.fromkeys(tokens, 0)
    wanting = list(tokens)
    while wanting:
        for token in list(wanting):
            try:
                shares.take(token, size)
                taken[token] += 1
            except Overloaded:
                wanting.remove(token)
    return taken


@pytest.mark.parametrize(("tokens", "each"), [("A", 50), ("AB", 33), ("ABC", 25)])
def test_applications_take_equal_parts_and_leave_as_much(tokens: str, each: int) -> None:
    shares = Shares(100, 10_000)
    assert set(take_all(shares, *tokens).values()) <= {each, each + 1}
    shares.take("newcomer", 1)


def test_bytes_are_shared_like_places() -> None:
    shares = Shares(1000, 100)
    assert take_all(shares, "A", size=10) == {"A": 5}
    with pytest.raises(Overloaded):
        shares.take("B", 51)
    shares.take("B", 50)


def test_released_places_can_be_taken_again() -> None:
    shares = Shares(10, 100)
    for _ in range(3):
        taken = take_all(shares, "A", size=10)["A"]
        assert taken == 5
        for _ in range(taken):
            shares.give_back("A", 10)
    assert not shares._held


def test_a_single_place_can_be_taken() -> None:
    assert take_all(Shares(1, 10), "A", "B") == {"A": 1, "B": 0}
