"""The followers of one chat: each read of what is new serves all who have come equally far."""

from time import perf_counter, time

from contract.changed_chats import ChatKey
from crud_service.live.cursor import Cursor
from crud_service.live.followers import Follower
from crud_service.live.pace import Pace
from crud_service.live.stream_metrics import EVENTS, LAG
from crud_service.reads.gathered_reads import GatheredReads
from web.problems import Problem


class ChatFeed:
    """Gives followers the events behind their cursors, grouped by cursor.

    There is no live mode next to a replay: a follower is given what lies behind its cursor, and
    waits for a wake-up when there is nothing. So nothing can be lost where one ends and the
    other begins. Followers without room are in no group; they join the one of their cursor when
    they have room again.
    """

    __slots__ = (
        "_again",
        "_changed_at",
        "_groups",
        "_pace",
        "_reading",
        "_reads",
        "followers",
        "id",
        "key",
    )

    def __init__(self, key: ChatKey, chat_id: int, reads: GatheredReads, pace: Pace) -> None:
        self.key = key
        self.id = chat_id
        self._reads = reads
        self._pace = pace
        self.followers = 0
        self._groups: dict[Cursor, set[Follower]] = {}
        self._reading: set[Cursor] = set()
        self._again: set[Cursor] = set()  # woken while a read was on its way
        self._changed_at: float | None = None  # when the last wake-up's change was committed

    def add(self, follower: Follower) -> None:
        """Give a follower, from now on, what lies behind its cursor."""
        self.followers += 1
        self.resume(follower)

    def resume(self, follower: Follower) -> None:
        """Go on with a follower that has room again."""
        self._groups.setdefault(follower.cursor, set()).add(follower)
        self._read(follower.cursor)

    def remove(self, follower: Follower) -> None:
        """Give a follower nothing more."""
        self.followers -= 1
        group = self._groups.get(follower.cursor)
        if group is not None:
            group.discard(follower)
            if not group:
                del self._groups[follower.cursor]

    def wake(self, changed_at: float | None = None) -> None:
        """Look for something new; `changed_at` is when it was committed, if that is known."""
        self._changed_at = changed_at
        for cursor in list(self._groups):
            self._read(cursor)

    @property
    def oldest(self) -> Cursor | None:
        """A cursor that is ahead of no follower with room; None if there is no such follower."""
        if len(self._groups) < 2:
            return next(iter(self._groups), None)
        numbers, changes = zip(*self._groups, strict=True)
        return Cursor(min(numbers), min(changes))

    def _read(self, cursor: Cursor) -> None:
        if cursor in self._reading:
            self._again.add(cursor)
        else:
            self._reading.add(cursor)
            self._pace.after_rest(lambda: self._find(cursor))

    def _find(self, cursor: Cursor) -> None:
        self._again.discard(cursor)  # this read finds what those woken during a rest would find
        self._reads.find(ChatRead(self, cursor), self.key[0])

    def end(self) -> None:
        """End those with room, as the chat can no longer be read; the others once they have it."""
        for group in list(self._groups.values()):
            for follower in list(group):
                follower.end()

    def failed(self, cursor: Cursor) -> None:
        """Note that a read has failed: if it would have found something, the next look will."""
        self._reading.discard(cursor)
        self._again.discard(cursor)

    def deliver(self, cursor: Cursor, found: bytes) -> None:
        """Give what a read has found to those who are still at its cursor."""
        started = perf_counter()
        self._reading.discard(cursor)
        is_stale = cursor in self._again
        self._again.discard(cursor)
        head, _, events = found.partition(b"\n")
        position, more = head.split()
        number, change = position.split(b".")
        new = Cursor(int(number), int(change))
        group = self._groups.pop(cursor, set())
        if group and (events or new != cursor):
            group = self._move(group, events, cursor, new)
        if group:
            self._groups.setdefault(new, set()).update(group)
        # An empty read counts as well: lists that wait behind a thousand different numbers cause
        # a thousand of them with every message.
        self._pace.spent(perf_counter() - started)
        if group and (more == b"1" or is_stale):
            self._read(new)

    def _move(self, group: set[Follower], events: bytes, old: Cursor, new: Cursor) -> set[Follower]:
        """Give events to a group; return those with room for more."""
        for follower in group:
            follower.cursor = new
        if not events:
            return group
        if self._changed_at is not None:
            LAG.observe(max(0.0, time() - self._changed_at))
            self._changed_at = None
        created = new.number > old.number
        with_room = {follower for follower in group if follower.take(events, created=created)}
        EVENTS.inc(events.count(b"\n\n") * len(group))
        return with_room


class ChatRead:
    """A read of what lies behind a cursor."""

    __slots__ = ("_cursor", "_feed")

    def __init__(self, feed: ChatFeed, cursor: Cursor) -> None:
        self._feed = feed
        self._cursor = cursor

    @property
    def key(self) -> tuple[str, str, str, str]:
        feed, cursor = self._feed, self._cursor
        return feed.key[0], str(feed.id), str(cursor.number), str(cursor.change)

    def settle(self, found: bytes | Problem | None) -> None:
        if isinstance(found, bytes):
            self._feed.deliver(self._cursor, found)
            return
        self._feed.failed(self._cursor)
        if found is None:
            self._feed.end()
