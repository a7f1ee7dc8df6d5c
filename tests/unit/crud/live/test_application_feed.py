"""The feed of an application: states of chats, once each, and `ready` after every gap."""

import pytest

from crud_service.live.application_feed import STATES_REMEMBERED, ApplicationFeed
from crud_service.live.events import event
from tests.unit.crud.live.fake_feeds import Clock, Listener, Reads, Restless
from web.problems import StoreUnavailable


@pytest.fixture
def feed(clock: Clock, reads: Reads) -> ApplicationFeed:
    return ApplicationFeed("token", 7, 100, reads.as_gathered(), Restless())


def ready(seen: int) -> bytes:
    return event("ready", str(seen), "{}")


def state(chat: int, name: str) -> bytes:
    return f'event: chat.changed\ndata: {{"chat_number":{chat},"state":"{name}"}}\n\n'.encode()


def found(*chats: tuple[int, int, int]) -> bytes:
    """A read's result for chats, each with its last message and its last change."""
    head = " ".join(f"{chat}:{last}:{change}" for chat, last, change in chats)
    events = b"".join(state(chat, f"{last}.{change}") for chat, last, change in chats)
    return head.encode() + b"\n" + events


def test_a_follower_is_ready_and_is_told_of_what_changes(
    feed: ApplicationFeed, reads: Reads
) -> None:
    follower = Listener()
    feed.add(follower)
    assert (follower.taken, reads.keys) == ([ready(100)], [])
    feed.wake(3)
    assert reads.keys == [("token", "7", "3")]
    reads.settle(found((3, 101, 0)))
    assert follower.taken[1:] == [state(3, "101.0")]


def test_chats_that_change_during_a_read_share_the_next(
    feed: ApplicationFeed, reads: Reads
) -> None:
    follower = Listener()
    feed.add(follower)
    for chat in (3, 4, 3, 5, 4):
        feed.wake(chat)
    assert reads.keys == [("token", "7", "3")]
    reads.settle(found((3, 101, 0)))
    assert reads.keys == [("token", "7", "4 3 5")]
    reads.settle(found((3, 103, 0), (4, 104, 0), (5, 102, 0)))
    assert reads.keys == []
    assert follower.taken[2:] == [state(3, "103.0") + state(4, "104.0") + state(5, "102.0")]


def test_a_state_is_told_once(feed: ApplicationFeed, reads: Reads) -> None:
    follower = Listener()
    feed.add(follower)
    for _ in range(2):
        feed.wake(3)
        reads.settle(found((3, 101, 1)))
    feed.wake(3)
    reads.settle(found((3, 101, 2)))
    assert follower.taken[1:] == [state(3, "101.1"), state(3, "101.2")]


def test_the_states_of_many_chats_are_forgotten_and_told_again(
    feed: ApplicationFeed, reads: Reads
) -> None:
    """What is remembered is bounded; each of these chats costs memory in every process."""
    follower = Listener()
    feed.add(follower)
    for first in range(1, 2 * STATES_REMEMBERED, STATES_REMEMBERED):
        feed.wake(first)
        many = range(first, first + STATES_REMEMBERED + 1)
        reads.settle(found(*((chat, 101, 0) for chat in many)))
    feed.wake(1)
    reads.settle(found((1, 101, 0)))
    assert follower.taken[-1] == state(1, "101.0")


def test_a_look_tells_of_what_no_wake_up_told(feed: ApplicationFeed, reads: Reads) -> None:
    feed.add(Listener())
    feed.wake(3)
    reads.settle(found((3, 101, 0)))
    feed.look(3, 101)
    assert reads.keys == []
    feed.look(4, 102)
    assert reads.keys == [("token", "7", "4")]
    assert feed.seen == 102


def test_a_chat_that_does_not_exist_is_not_told_of(feed: ApplicationFeed, reads: Reads) -> None:
    follower = Listener()
    feed.add(follower)
    feed.wake(3)
    reads.settle(b"\n")
    feed.wake(4)
    assert reads.keys == [("token", "7", "4")]
    assert follower.taken == [ready(100)]


def test_a_failed_read_is_repeated_by_the_next_look_though_that_finds_nothing(
    feed: ApplicationFeed, reads: Reads
) -> None:
    """An edit is announced once, and a look asks only for messages behind those it has seen."""
    follower = Listener()
    feed.add(follower)
    feed.look(3, 101)
    reads.settle(StoreUnavailable())
    assert reads.keys == []
    feed.retry()
    assert reads.keys == [("token", "7", "3")]
    reads.settle(found((3, 101, 0)))
    assert follower.taken[1:] == [state(3, "101.0")]
    feed.retry()
    assert reads.keys == []


def test_who_has_no_room_is_ready_again_when_there_is(feed: ApplicationFeed, reads: Reads) -> None:
    slow, fast = Listener(room=2), Listener()
    feed.add(slow)
    feed.add(fast)
    for last in (101, 102):
        feed.wake(3)
        reads.settle(found((3, last, 0)))
    assert slow.taken == [ready(100), state(3, "101.0")]
    slow.room = None
    feed.look(3, 102)
    feed.resume(slow)
    feed.wake(4)
    reads.settle(found((4, 103, 0)))
    assert slow.taken[2:] == [ready(102), state(4, "103.0")]
    assert fast.taken[1:] == [state(3, "101.0"), state(3, "102.0"), state(4, "103.0")]


def test_who_leaves_during_a_read_is_told_nothing(feed: ApplicationFeed, reads: Reads) -> None:
    leaving, staying = Listener(), Listener()
    feed.add(leaving)
    feed.add(staying)
    feed.wake(3)
    feed.remove(leaving)
    reads.settle(found((3, 101, 0)))
    assert (len(leaving.taken), len(staying.taken), feed.followers) == (1, 2, 1)


def test_a_gap_makes_everybody_ready_again(feed: ApplicationFeed) -> None:
    followers = [Listener(), Listener()]
    for follower in followers:
        feed.add(follower)
    feed.start_anew()
    assert [follower.taken for follower in followers] == [[ready(100)] * 2] * 2


def test_a_look_wakes_for_changes_that_were_not_told(feed: ApplicationFeed, reads: Reads) -> None:
    follower = Listener()
    feed.add(follower)
    feed.look_at_change(3, 2)
    assert reads.keys == [("token", "7", "3")]
    reads.settle(found((3, 101, 2)))
    feed.look_at_change(3, 2)
    assert reads.keys == []
    feed.look_at_change(3, 3)
    assert reads.keys == [("token", "7", "3")]
    assert feed.seen == 100, "a change says nothing of the messages of other chats"
