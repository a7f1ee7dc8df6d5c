"""The followers of one application: each event names a chat that has changed."""

from itertools import islice
from time import monotonic, perf_counter

from crud_service.live.events import event
from crud_service.live.followers import Stream
from crud_service.live.pace import Pace
from crud_service.live.statements import CHATS_A_READ
from crud_service.live.stream_metrics import EVENTS
from crud_service.reads.gathered_reads import GatheredReads
from web.problems import Problem

NOTHING = (0, 0)
STATES_REMEMBERED = 10_000


class ApplicationFeed:
    """Gives followers the states of chats that have changed.

    An event is state, not history: many changes of a chat become one event. A follower that had
    no room gets another `ready` instead, and then reads the list of chats again.
    """

    def __init__(
        self, key: str, application_id: int, seen: int, reads: GatheredReads, pace: Pace
    ) -> None:
        self.key = key
        self.id = application_id
        self._reads = reads
        self._pace = pace
        self.followers = 0
        self._with_room: set[Stream] = set()
        self._changed: dict[int, None] = {}  # numbers of chats to read, in order
        self._is_reading = False
        # The last state sent of each chat: the id of its last message, the number of its last
        # change.
        self._sent: dict[int, tuple[int, int]] = {}
        # The next look asks for chats whose last message has a higher id, or changed since then.
        self.seen = seen
        self.began = monotonic()

    def add(self, stream: Stream) -> None:
        """Send a follower events from now on."""
        self.followers += 1
        self.resume(stream)

    def resume(self, stream: Stream) -> None:
        """Send events again to a follower that may have missed some, beginning with `ready`."""
        if stream.take(self.ready()):
            self._with_room.add(stream)

    def remove(self, stream: Stream) -> None:
        """Send a follower nothing more."""
        self.followers -= 1
        self._with_room.discard(stream)

    def ready(self) -> bytes:
        """Return the event after which every change is sent."""
        return event("ready", str(self.seen), "{}")

    def start_anew(self) -> None:
        """Have all followers read the list again: a wake-up may have been lost."""
        ready = self.ready()
        self._with_room = {stream for stream in self._with_room if stream.take(ready)}

    def wake(self, chat_number: int) -> None:
        """Read the state of a chat, and send it."""
        self._changed[chat_number] = None
        self._read()

    def look(self, chat_number: int, last_message_id: int) -> None:
        """Wake for a chat that a look has found, unless its last message is known already."""
        self.seen = max(self.seen, last_message_id)
        if self._sent.get(chat_number, NOTHING)[0] < last_message_id:
            self.wake(chat_number)

    def look_at_change(self, chat_number: int, change: int) -> None:
        """Wake for a chat that a look has found changed, unless that change is known already."""
        if self._sent.get(chat_number, NOTHING)[1] < change:
            self.wake(chat_number)

    def _read(self) -> None:
        if not self._is_reading and self._changed:
            self._is_reading = True
            self._pace.after_rest(self._find)

    def _find(self) -> None:
        chats = list(islice(self._changed, CHATS_A_READ))
        for chat in chats:
            del self._changed[chat]
        self._reads.find(ApplicationRead(self, chats), self.key)

    def end(self) -> None:
        """End those with room, as the token is not valid any more; the others once they have it."""
        for stream in list(self._with_room):
            stream.end()

    def failed(self, chats: list[int]) -> None:
        """Note that a read has failed: the next wake-up or look repeats it."""
        self._is_reading = False
        self._changed.update(dict.fromkeys(chats))

    def retry(self) -> None:
        """Repeat a read that has failed; called with each look, which may find nothing itself."""
        self._read()

    def deliver(self, found: bytes) -> None:
        """Give what a read has found to all who have room for it."""
        started = perf_counter()
        self._is_reading = False
        head, _, rest = found.partition(b"\n")
        if len(self._sent) > STATES_REMEMBERED:
            self._sent.clear()
        events = b""
        for word, event_of_chat in zip(head.split(), rest.split(b"\n\n"), strict=False):
            chat, last_message_id, change = map(int, word.split(b":"))
            # An edit is usually announced twice: by the process that made it, and by the indexer.
            if self._sent.get(chat) != (last_message_id, change):
                self._sent[chat] = (last_message_id, change)
                events += event_of_chat + b"\n\n"
        if events:
            EVENTS.inc(events.count(b"\n\n") * len(self._with_room))
            self._with_room = {stream for stream in self._with_room if stream.take(events)}
        self._pace.spent(perf_counter() - started)
        self._read()


class ApplicationRead:
    """A read of the states of some chats."""

    __slots__ = ("_chats", "_feed")

    def __init__(self, feed: ApplicationFeed, chats: list[int]) -> None:
        self._feed = feed
        self._chats = chats

    @property
    def key(self) -> tuple[str, str, str]:
        return self._feed.key, str(self._feed.id), " ".join(map(str, self._chats))

    def settle(self, found: bytes | Problem | None) -> None:
        if isinstance(found, bytes):
            self._feed.deliver(found)
            return
        self._feed.failed(self._chats)
        if found is None:
            self._feed.end()
