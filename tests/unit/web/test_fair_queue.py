"""A queue of many owners: they take turns, and each keeps its own order."""

from web.fair_queue import FairQueue


def queue_of(items: str) -> FairQueue[str]:
    """A queue with items such as `a1`, the owner of which is `a`."""
    queue: FairQueue[str] = FairQueue()
    for item in items.split():
        queue.push(item[0], item)
    return queue


def test_an_empty_queue_has_nothing() -> None:
    queue = queue_of("")
    assert not queue
    assert queue.take(3) == queue.take_all() == []


def test_one_owner_keeps_its_order() -> None:
    queue = queue_of("a1 a2 a3 a4 a5")
    assert queue.take(2) == ["a1", "a2"]
    assert queue
    assert queue.take(9) == ["a3", "a4", "a5"]
    assert not queue


def test_owners_take_turns_from_one_taking_to_the_next() -> None:
    queue = queue_of("a1 a2 a3 a4 b1 c1 b2")
    assert queue.take(2) == ["a1", "b1"]
    assert queue.take(3) == ["c1", "a2", "b2"]
    assert queue.take(9) == ["a3", "a4"]


def test_who_comes_last_is_in_the_next_taking_however_much_others_have() -> None:
    queue = queue_of(" ".join(f"a{number}" for number in range(1000)) + " b1")
    assert queue.take(2) == ["a0", "b1"]


def test_an_owner_that_comes_back_goes_to_the_end() -> None:
    queue = queue_of("a1 b1 b2")
    assert queue.take(1) == ["a1"]
    queue.push("a", "a2")
    assert queue.take(3) == ["b1", "a2", "b2"]


def test_everything_can_be_taken_at_once() -> None:
    queue = queue_of("a1 a2 b1")
    assert sorted(queue.take_all()) == ["a1", "a2", "b1"]
    assert not queue
