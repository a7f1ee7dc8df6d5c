"""Long lists: so many at once and no more."""

import pytest

from contract.problems import Overloaded
from crud_service.long_lists import AT_ONCE, LongList


def test_whoever_comes_when_too_many_are_read_is_asked_to_come_again() -> None:
    read = [LongList(iter([b"x"])) for _ in range(AT_ONCE)]
    with pytest.raises(Overloaded):
        LongList(iter([b"x"]))
    read.pop().close()
    read.append(LongList(iter([b"x"])))
    for each in read:
        each.close()


def test_a_list_that_nobody_finishes_leaves_its_room_to_others() -> None:
    for _ in range(AT_ONCE * 2):
        next(LongList(iter([b"a", b"b"])))


def test_a_list_that_was_closed_twice_leaves_room_for_one() -> None:
    read = [LongList(iter([b"x"])) for _ in range(AT_ONCE)]
    read[0].close()
    read[0].close()
    LongList(iter([b"x"]))
    assert b"".join(read[1]) == b"x"
