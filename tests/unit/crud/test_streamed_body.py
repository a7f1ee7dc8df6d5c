"""Long answers: a limited number at once, in total and per owner."""

import pytest

from crud_service.api.lists.streamed_body import StreamedBody
from crud_service.limited_places import Places
from web.problems import Overloaded

IN_ALL, OF_ONE = 6, 2


@pytest.fixture
def places() -> Places:
    return Places(IN_ALL, OF_ONE, "Try again later.")


def read(places: Places, owner: str) -> StreamedBody:
    return StreamedBody(places, owner, iter([b"a", b"b"]))


def test_one_owner_leaves_room_to_the_others(places: Places) -> None:
    loud = [read(places, "loud") for _ in range(OF_ONE)]
    with pytest.raises(Overloaded):
        read(places, "loud")
    quiet = read(places, "quiet")
    loud.pop().close()
    loud.append(read(places, "loud"))
    assert b"".join(quiet) == b"ab"


def test_too_many_concurrent_lists_are_refused_with_retry_after(places: Places) -> None:
    being_read = [read(places, str(number)) for number in range(IN_ALL)]
    with pytest.raises(Overloaded) as refusal:
        read(places, "another")
    assert refusal.value.headers["Retry-After"] == "1"
    being_read.pop().close()
    read(places, "another").close()


def test_an_unfinished_answer_leaves_its_room_to_others(places: Places) -> None:
    for _ in range(IN_ALL * 2):
        next(read(places, "owner"))


def test_an_answer_closed_twice_frees_one_place(places: Places) -> None:
    first, second = read(places, "owner"), read(places, "owner")
    first.close()
    first.close()
    third = read(places, "owner")
    with pytest.raises(Overloaded):
        read(places, "owner")
    assert b"".join(second) == b"".join(third) == b"ab"
