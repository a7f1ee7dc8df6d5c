"""Reads the stream `accepted` in batches, and checks its entries."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event

from redis import Redis, RedisError

from contract.entries import BadEntryError, Entry, decode
from contract.keys import ACCEPTED
from contract.paths import MAX_NUMBER

# A batch ends at this many entries or bytes. It is read in pages, because Redis cannot
# limit a reply by its size: a page of maximum-size bodies is 8 MiB, so a batch never
# holds more than 16 MiB, and there are two: that which is stored, and the next. The last entry of
# each page is held as it was read, too: of all entries, if each arrives on its own.
MAX_ENTRIES = 4000
MAX_BYTES = 8 * 1024 * 1024
PAGE = 128
# How often entries are read that arrive while the batch before them is stored.
READ_AHEAD_SECONDS = 0.01

RawFields = Mapping[bytes, bytes]
# redis-py's types cover every protocol and decoding; these are the ones that we use.
Page = list[tuple[bytes, RawFields]]


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry that cannot be stored, as the stream had it."""

    entry_id: str
    fields: RawFields
    reason: str


@dataclass(slots=True)
class Batch:
    """Consecutive entries of the stream, in order, at most `limit` of them."""

    limit: int = MAX_ENTRIES
    entries: list[Entry] = field(default_factory=list)
    bad: list[BadEntry] = field(default_factory=list)
    # The last entry of each page that was read, as the stream has it: the id and the fields.
    page_ends: Page = field(default_factory=list)
    # The id of the entry before the first one; empty if that is the oldest of the stream.
    after_id: str = ""
    size: int = 0

    @property
    def last_id(self) -> str:
        """The id of the last entry, that before the first one if there is none."""
        return self.page_ends[-1][0].decode() if self.page_ends else self.after_id

    def __len__(self) -> int:
        return len(self.entries) + len(self.bad)

    @property
    def is_full(self) -> bool:
        return len(self) >= self.limit or self.size >= MAX_BYTES

    def add(self, page: Page) -> None:
        """Add the entries that the stream has next."""
        for entry_id, fields in page:
            self.size += sum(map(len, fields.values()))
            try:
                self.entries.append(check_storable(decode(entry_id, fields)))
            except BadEntryError as error:
                self.bad.append(BadEntry(entry_id.decode(), fields, str(error)))
        self.page_ends += page[-1:]


class BatchLimit:
    """How many entries to store at once: fewer after a batch that timed out.

    Otherwise a batch that takes longer than PostgreSQL's timeouts would be rolled back
    and read again without end.
    """

    def __init__(self) -> None:
        self.entries = MAX_ENTRIES

    def ran_out_of_time(self, entries: int) -> None:
        """Reduce the limit to a quarter of the entries that timed out, but at least one."""
        self.entries = max(1, entries // 4)

    def stored(self) -> None:
        """Raise the limit again, in small steps: each step too far costs a timeout."""
        self.entries = min(MAX_ENTRIES, self.entries + max(1, self.entries // 8))


def fill(redis: Redis, batch: Batch, stream: str = ACCEPTED) -> Batch:
    """Add the entries that wait behind a batch's last one until none is left, or it is full.

    They stay in the stream.

    Args:
        redis: the server of the shard.
        batch: what is added to; an empty one begins with the oldest entry.
        stream: the key of the shard's stream.

    Returns:
        The batch, still empty if nothing waits.
    """
    while not batch.is_full:
        count = min(PAGE, batch.limit - len(batch))
        start = f"({batch.last_id}" if batch.last_id else "-"
        page: Page = redis.xrange(stream, start, "+", count=count)  # type: ignore[assignment]
        batch.add(page)
        if len(page) < count:
            break
    return batch


def read_ahead(redis: Redis, batch: Batch, stream: str, over: Event) -> None:
    """Fill a batch again and again, while the one before it is stored.

    Args:
        redis: the server of the shard.
        batch: what is added to. An error of Redis ends this early and is not raised: what was
            added before it stays, and the next read fails in its turn.
        stream: the key of the shard's stream.
        over: set when the batch before is stored.
    """
    with suppress(RedisError):
        while not over.wait(READ_AHEAD_SECONDS):
            fill(redis, batch, stream)


def check_storable(entry: Entry) -> Entry:
    """Return the entry if its values fit the columns, else raise BadEntryError."""
    if not 1 <= entry.number <= MAX_NUMBER:
        raise BadEntryError(f"number {entry.number} is out of range")
    if entry.chat_number is not None and not 1 <= entry.chat_number <= MAX_NUMBER:
        raise BadEntryError(f"chat number {entry.chat_number} is out of range")
    if "\x00" in entry.body or "\x00" in entry.access_token or "\x00" in entry.attributes:
        raise BadEntryError("contains U+0000, which PostgreSQL cannot store")
    return entry


def after(entry_id: str) -> str:
    """Return the lowest id that is higher than an entry's."""
    milliseconds, _, counter = entry_id.partition("-")
    return f"{milliseconds}-{int(counter) + 1}"


def wait_for_entries(redis: Redis, milliseconds: int, stream: str = ACCEPTED) -> bool:
    """Wait until an entry is in the stream.

    Args:
        redis: the server of the shard.
        milliseconds: how long to wait.
        stream: the key of the shard's stream.

    Returns:
        Whether there is one; False if none came in time.
    """
    return bool(redis.xread({stream: "0-0"}, count=1, block=milliseconds))
