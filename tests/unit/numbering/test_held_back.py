"""Creations that wait until their applications have room."""

from numbering_service.creation import AnyCreation, Creation
from numbering_service.creations.held_back import HeldBack
from tests.integration.numbering.surroundings import Waiter

LOUD, LATER = "L" * 24, "l" * 24


def waiter(token: str, body: str) -> Waiter:
    return Waiter(Creation(token, 1, body, "r"))


def add(held: HeldBack, *waiters: Waiter) -> None:
    for each in waiters:
        held.add(each)


def test_each_application_keeps_its_order_and_holds_up_no_other() -> None:
    held = HeldBack(10)
    first, second, third = (waiter(LOUD, body) for body in ("large", "small", "small"))
    other = waiter(LATER, "small")
    add(held, first, second, third, other)
    assert list(held.let_in(lambda creation: creation.first.body == "small")) == [other]
    assert LOUD in held
    assert LATER not in held
    room = iter([True, True, False])
    assert list(held.let_in(lambda _: next(room))) == [first, second]
    assert len(held) == 1
    assert list(held.clear()) == [third]
    assert not held


def test_each_waits_for_as_long_as_the_others() -> None:
    now = [100.0]
    held = HeldBack(5, clock=lambda: now[0])
    early, late = waiter(LOUD, "early"), waiter(LOUD, "late")
    held.add(early)
    now[0] += 3
    held.add(late)
    now[0] += 1.9
    assert list(held.expire()) == []
    now[0] += 0.1
    assert list(held.expire()) == [early]
    now[0] += 3
    assert list(held.expire()) == [late]
    assert LOUD not in held


def test_a_creation_that_is_let_in_may_be_followed_by_another_one() -> None:
    """The caller may add to the queue meanwhile."""
    held = HeldBack(10)
    first, second = waiter(LOUD, "first"), waiter(LOUD, "second")
    held.add(first)

    def take(_creation: AnyCreation) -> bool:
        if len(held) == 1 and second not in taken:
            held.add(second)
            taken.append(second)
        return True

    taken: list[Waiter] = []
    assert list(held.let_in(take)) == [first, second]
