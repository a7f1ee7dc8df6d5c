"""The feed of a chat: every interleaving of wake-ups, reads, and followers who come and go."""

import pytest

from crud_service.live.chat_feed import ChatFeed
from crud_service.live.cursor import Cursor
from crud_service.live.pace import Pace
from tests.unit.crud.live.fake_feeds import Clock, Listener, Reads, Restless
from web.problems import StoreUnavailable

START = Cursor(3, 0)


@pytest.fixture
def feed(clock: Clock, reads: Reads) -> ChatFeed:
    return ChatFeed(("token", 1), 7, reads.as_gathered(), Restless())


def created(number: int) -> bytes:
    return f"event: message.created\nid: {number}.0\n\n".encode()


def found(cursor: Cursor, *events: bytes, more: bool = False) -> bytes:
    return f"{cursor} {more:d}\n".encode() + b"".join(events)


def key(cursor: Cursor) -> tuple[str, str, str, str]:
    return "token", "7", str(cursor.number), str(cursor.change)


def follow(feed: ChatFeed, reads: Reads, cursor: Cursor = START) -> Listener:
    """Add a follower for whom there is nothing at first."""
    follower = Listener(cursor)
    feed.add(follower)
    reads.settle(found(cursor))
    return follower


def test_a_new_follower_is_given_what_lies_behind_its_cursor(feed: ChatFeed, reads: Reads) -> None:
    follower = Listener(START)
    feed.add(follower)
    assert reads.keys == [key(START)]
    reads.settle(found(Cursor(4, 0), created(4)))
    assert (follower.taken, follower.cursor) == ([created(4)], Cursor(4, 0))
    assert reads.keys == []


def test_a_read_that_holds_only_a_part_is_followed_by_another(feed: ChatFeed, reads: Reads) -> None:
    follower = Listener(START)
    feed.add(follower)
    reads.settle(found(Cursor(4, 0), created(4), more=True))
    assert reads.keys == [key(Cursor(4, 0))]
    reads.settle(found(Cursor(5, 0), created(5)))
    assert follower.taken == [created(4), created(5)]


def test_all_at_one_cursor_share_a_read(feed: ChatFeed, reads: Reads) -> None:
    followers = [follow(feed, reads) for _ in range(3)]
    feed.wake()
    assert reads.keys == [key(START)]
    reads.settle(found(Cursor(4, 0), created(4)))
    assert [follower.taken for follower in followers] == [[created(4)]] * 3


def test_a_wake_up_during_a_read_is_followed_by_another_read(feed: ChatFeed, reads: Reads) -> None:
    follower = follow(feed, reads)
    feed.wake()
    feed.wake()
    feed.wake()
    assert reads.keys == [key(START)]
    reads.settle(found(Cursor(4, 0), created(4)))
    assert reads.keys == [key(Cursor(4, 0))]
    reads.settle(found(Cursor(5, 0), created(5)))
    assert reads.keys == []
    assert follower.taken == [created(4), created(5)]


def test_a_wake_up_during_a_read_that_finds_nothing_counts_too(
    feed: ChatFeed, reads: Reads
) -> None:
    follower = follow(feed, reads)
    feed.wake()
    feed.wake()
    reads.settle(found(START))
    assert reads.keys == [key(START)]
    reads.settle(found(Cursor(4, 0), created(4)))
    assert follower.taken == [created(4)]


def test_who_joins_during_a_read_is_given_all_behind_its_cursor_once(
    feed: ChatFeed, reads: Reads
) -> None:
    follow(feed, reads)
    feed.wake()
    late = Listener(START)
    feed.add(late)
    reads.settle(found(Cursor(4, 0), created(4)))
    reads.settle(found(Cursor(5, 0), created(5)))
    assert late.taken == [created(4), created(5)]
    assert reads.keys == []


def test_who_leaves_during_a_read_is_given_nothing(feed: ChatFeed, reads: Reads) -> None:
    leaving, staying = follow(feed, reads), follow(feed, reads)
    feed.wake()
    feed.remove(leaving)
    reads.settle(found(Cursor(4, 0), created(4)))
    assert (leaving.taken, staying.taken, feed.followers) == ([], [created(4)], 1)


def test_a_read_for_nobody_moves_nobody(feed: ChatFeed, reads: Reads) -> None:
    follower = follow(feed, reads)
    feed.wake()
    feed.remove(follower)
    reads.settle(found(Cursor(4, 0), created(4)))
    assert (reads.keys, feed.oldest, feed.followers) == ([], None, 0)
    again = Listener(START)
    feed.add(again)
    assert reads.keys == [key(START)]
    reads.settle(found(Cursor(4, 0), created(4)))
    assert again.taken == [created(4)]


def test_a_slow_follower_stays_behind_and_catches_up_without_a_gap(
    feed: ChatFeed, reads: Reads
) -> None:
    slow, fast = follow(feed, reads), follow(feed, reads)
    slow.room = 1
    feed.wake()
    reads.settle(found(Cursor(4, 0), created(4)))
    feed.wake()
    reads.settle(found(Cursor(5, 0), created(5)))
    assert (slow.taken, slow.cursor) == ([created(4)], Cursor(4, 0))
    slow.room = None
    feed.resume(slow)
    feed.wake()
    assert reads.keys == [key(Cursor(4, 0)), key(Cursor(5, 0))]
    reads.settle(found(Cursor(5, 0), created(5)))
    reads.settle(found(Cursor(6, 0), created(6)))
    # It joined those at 5.0 after their read had begun, and is given what that finds.
    assert slow.taken == fast.taken == [created(4), created(5), created(6)]
    feed.remove(slow)
    feed.remove(fast)
    assert feed.oldest is None


def test_a_slow_follower_that_leaves_is_not_resumed(feed: ChatFeed, reads: Reads) -> None:
    slow, fast = follow(feed, reads), follow(feed, reads)
    slow.room = 1
    feed.wake()
    reads.settle(found(Cursor(4, 0), created(4)))
    feed.remove(slow)
    feed.wake()
    reads.settle(found(Cursor(5, 0), created(5)))
    assert (slow.taken, fast.taken, feed.followers) == ([created(4)], [created(4), created(5)], 1)


def test_a_failed_read_leaves_everybody_where_they_were(feed: ChatFeed, reads: Reads) -> None:
    follower = follow(feed, reads)
    feed.wake()
    feed.wake()
    reads.settle(StoreUnavailable())
    assert (reads.keys, feed.oldest) == ([], START)
    feed.wake()
    reads.settle(found(Cursor(4, 0), created(4)))
    assert follower.taken == [created(4)]


def test_the_oldest_cursor_is_behind_everybody(feed: ChatFeed, reads: Reads) -> None:
    follow(feed, reads, Cursor(9, 2))
    follow(feed, reads, Cursor(5, 4))
    assert feed.oldest == Cursor(5, 2)


def test_a_follower_learns_whether_messages_were_created(feed: ChatFeed, reads: Reads) -> None:
    follower = Listener(Cursor(9, 0))
    feed.add(follower)
    reads.settle(found(Cursor(9, 2), b"event: message.updated\nid: 9.2\n\n"))
    feed.wake()
    reads.settle(found(Cursor(10, 2), created(10)))
    assert follower.created == [False, True]


def test_events_wait_during_a_rest_and_come_together_after_it(clock: Clock, reads: Reads) -> None:
    pace = Pace()
    feed = ChatFeed(("token", 1), 7, reads.as_gathered(), pace)
    follower = follow(feed, reads)
    clock.pass_seconds(10)
    pace.spent(0.1)
    for _ in range(3):
        feed.wake()
    clock.pass_seconds(0.2)
    assert reads.keys == []
    clock.pass_seconds(0.2)
    assert reads.keys == [key(START)]
    reads.settle(found(Cursor(6, 0), created(4), created(5), created(6)))
    assert reads.keys == []
    assert follower.taken == [created(4) + created(5) + created(6)]


def test_a_follower_that_leaves_during_a_rest_costs_an_empty_read_at_most(
    clock: Clock, reads: Reads
) -> None:
    pace = Pace()
    feed = ChatFeed(("token", 1), 7, reads.as_gathered(), pace)
    follower = follow(feed, reads)
    clock.pass_seconds(10)
    pace.spent(0.1)
    feed.wake()
    feed.remove(follower)
    clock.pass_seconds(1)
    for _ in reads.keys:
        reads.settle(found(Cursor(4, 0), created(4)))
    assert (follower.taken, feed.oldest) == ([], None)
