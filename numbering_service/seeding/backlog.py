"""The highest numbers in the stream, read once for all seedings that need them.

The first seeding that meets a long backlog reads all of it; the next ones read
what was added since. At most one reading is in progress. Callers that arrive
meanwhile join the next one, whose fence is recorded after their call.

What was read is kept in segments of the stream, each with the highest number per
sequence. Before a page is added, the segments that lie before the stream's first
entry are dropped. Two things follow:

- An entry that was dropped or never read has left the stream: PostgreSQL has it.
- The segments cover the stream up to the fence without gaps. If an entry left the
  stream before its page was read, everything read before it was dropped with that
  page. So if the segments hold an entry of a sequence, they hold all later ones
  as well, and the highest number found is the highest ever handed out.

Both hold for one history of one stream. The replication id changes when another
server takes over or Redis restarts, and ids or the count of entries go backwards
when the stream is lost: everything is then read again.

Memory is bounded by `max_keys` sequences: 40 MB at about 200 bytes each. In a backlog
of more sequences, what lies beyond them is read again for each group of waiting
seedings, and only their own numbers are kept.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from contract import keys
from contract.entries import EntryId, read_id
from contract.shards import ONLY, Shard

START: EntryId = (0, 0)


@dataclass(frozen=True, slots=True)
class Limits:
    """How the stream is read and remembered."""

    # A page keeps Redis busy for about a millisecond, whatever the bodies are.
    page_entries: int = 512
    page_bytes: int = 256 * 1024
    step_entries: int = 32
    segment_entries: int = 10_000
    max_keys: int = 200_000
    follow_from_entries: int = 5_000
    follow_seconds: float = 1.0
    follow_rest_seconds: float = 0.004


LIMITS = Limits()


class Page(NamedTuple):
    history: str  # the replication id of the server
    last_generated: EntryId
    entries_added: int
    first_in_stream: EntryId | None
    position: EntryId
    entries: int
    highest: dict[bytes, int]


class Found(NamedTuple):
    """The highest number of a sequence, None if there is none, and the history it was read in."""

    number: int | None
    history: str


@dataclass(slots=True)
class Segment:
    """A stretch of the stream, with the highest number per sequence."""

    last: EntryId
    entries: int
    highest: dict[bytes, int]

    def add(self, page: Page) -> None:
        self.last = page.position
        self.entries += page.entries
        self.highest |= highest_of(self.highest, page.highest)


@dataclass(slots=True)
class Reading:
    """One pass over the stream, with the sequences that its callers want."""

    done: asyncio.Future[None]
    wanted: set[bytes] = field(default_factory=set)
    found: dict[bytes, Found] = field(default_factory=dict)
    # Pages for which there was no room, reduced to the wanted sequences.
    beyond: deque[Segment] = field(default_factory=deque)


class Backlog:
    """This process's view of the stream of a shard."""

    def __init__(self, redis: Redis, limits: Limits = LIMITS, shard: Shard = ONLY) -> None:
        self._redis = redis
        self._stream = shard.key(keys.ACCEPTED)
        self._script = redis.register_script(
            files("numbering_service.seeding")
            .joinpath("read_backlog.lua")
            .read_text(encoding="utf-8")
        )
        self._limits = limits
        self._next: Reading | None = None
        self._reader: asyncio.Task[None] | None = None
        self._segments: deque[Segment] = deque()
        self._position = START
        self._history = ""
        self._last_generated = START
        self._entries_added = 0

    async def find(self, access_token: str, chat_number: int | None) -> Found:
        """Return the highest number in the backlog, up to a fence recorded after this call.

        That is 0 for messages when only the creation of their chat is there. Raises the errors of
        Redis. Cancelling one caller does not end the reading, since others may wait for it.
        """
        name = f"{access_token}:{chat_number or ''}".encode()
        reading = self._join()
        reading.wanted.add(name)
        await asyncio.shield(reading.done)
        return reading.found[name]

    async def follow(self) -> None:
        """Keep up with a backlog that grows long, so that no request has to wait for all of it.

        Pauses after each page for several times as long as the page took, unless a request waits.
        """
        limits = self._limits
        while True:
            await asyncio.sleep(limits.follow_seconds)
            # A request that needs the backlog meets the same error, and reports it.
            with contextlib.suppress(RedisError, OSError):
                if await self._redis.xlen(self._stream) >= limits.follow_from_entries:
                    await asyncio.shield(self._join().done)

    def _join(self) -> Reading:
        """Return the next reading, which has not begun yet."""
        if self._next is None:
            self._next = Reading(asyncio.get_running_loop().create_future())
            if self._reader is None:
                self._reader = asyncio.create_task(self._read_for_all())
        return self._next

    async def _read_for_all(self) -> None:
        try:
            while (reading := self._next) is not None:
                self._next = None
                await self._settle(reading)
        finally:
            self._reader = None

    async def _settle(self, reading: Reading) -> None:
        try:
            await self._read(reading)
        except Exception as error:
            reading.done.set_exception(error)
            reading.done.exception()  # Nobody else retrieves it if all callers have left.
        else:
            reading.done.set_result(None)

    async def _read(self, reading: Reading) -> None:
        """Read up to the fence: the last id generated when the first page was read."""
        position, fence = self._position, None
        while fence is None or position < fence:
            page = await self._read_page(position)
            if not self._continues(page):
                self._start_over(page)
                reading.beyond.clear()
                fence = None
                if position != START:
                    position = START
                    continue
            fence = fence or page.last_generated
            drop_before(self._segments, page.first_in_stream)
            drop_before(reading.beyond, page.first_in_stream)
            self._take(page, position, reading)
            position = page.position
            if not reading.wanted and self._next is None:
                await asyncio.sleep(self._limits.follow_rest_seconds)
        for name in reading.wanted:
            number = look_up(name, (*self._segments, *reading.beyond))
            reading.found[name] = Found(number, self._history)

    async def _read_page(self, position: EntryId) -> Page:
        limits, behind = self._limits, f"{position[0]}-{position[1]}"
        arguments = (behind, limits.page_entries, limits.page_bytes, limits.step_entries)
        return read_page(await self._script(keys=[self._stream], args=arguments))

    def _continues(self, page: Page) -> bool:
        """Whether a page belongs to the stream that was read before, not to a new one."""
        if (
            page.history != self._history
            or page.last_generated < self._last_generated
            or page.entries_added < self._entries_added
        ):
            return False
        self._last_generated, self._entries_added = page.last_generated, page.entries_added
        return True

    def _start_over(self, page: Page) -> None:
        self._segments.clear()
        self._position = START
        self._history = page.history
        self._last_generated, self._entries_added = page.last_generated, page.entries_added

    def _take(self, page: Page, position: EntryId, reading: Reading) -> None:
        """Keep a page that continues the segments if there is room, else only what is wanted."""
        kept = sum(len(segment.highest) for segment in self._segments)
        if position != self._position or kept + len(page.highest) > self._limits.max_keys:
            wanted = {name: page.highest[name] for name in reading.wanted & page.highest.keys()}
            if wanted:
                reading.beyond.append(Segment(page.position, page.entries, wanted))
            return
        self._position = page.position
        if not page.entries:
            return
        if self._segments and self._segments[-1].entries < self._limits.segment_entries:
            self._segments[-1].add(page)
        else:
            self._segments.append(Segment(page.position, page.entries, page.highest))


def look_up(name: bytes, segments: Iterable[Segment]) -> int | None:
    numbers = [segment.highest[name] for segment in segments if name in segment.highest]
    return max(numbers, default=None)


def drop_before(segments: deque[Segment], first_in_stream: EntryId | None) -> None:
    """Drop the segments that have no entry left in the stream."""
    while segments and (first_in_stream is None or segments[0].last < first_in_stream):
        segments.popleft()


def highest_of(one: Mapping[bytes, int], other: Mapping[bytes, int]) -> dict[bytes, int]:
    """Return the larger of both numbers for each sequence of `other`."""
    return {name: max(number, one.get(name, 0)) for name, number in other.items()}


def read_page(reply: list[Any]) -> Page:
    history, last_generated, entries_added, first_in_stream, position, entries, *flat = reply
    return Page(
        history=history.decode(),
        last_generated=read_id(last_generated),
        entries_added=entries_added,
        first_in_stream=read_id(first_in_stream) if first_in_stream else None,
        position=read_id(position),
        entries=entries,
        highest=dict(zip(flat[::2], flat[1::2], strict=True)),
    )
