"""The feeds of a process, and what wakes them: announcements, and a look once a second."""

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any
from weakref import WeakValueDictionary

import psycopg

from contract.changed_chats import WHOLE_APPLICATION, ChangedChats, ChatKey
from crud_service.live import stream_limits
from crud_service.live.application_feed import ApplicationFeed
from crud_service.live.chat_feed import ChatFeed
from crud_service.live.pace import Pace
from crud_service.live.statements import CHATS, CHATS_AHEAD, FOLLOW, WRITTEN_CHATS
from crud_service.live.subscription import Subscription
from crud_service.reads.connection import ReadConnection
from crud_service.reads.gathered_reads import GatheredReads

logger = logging.getLogger(__name__)

# What one statement reads for: each read may bring twice `statements.BYTES_A_READ`.
READS_AT_ONCE = 16
# A look at ten thousand chats at once would hold up everything else: a part of them at a time.
LOOKED_AT_ONCE = 2500


class Feeds:
    """A feed for each chat and each application that is followed; use it on one event loop."""

    def __init__(self) -> None:
        self._looks = ReadConnection()
        self._reads = ReadConnection()
        self._read_chats = GatheredReads(FOLLOW, self._reads, READS_AT_ONCE)
        self._read_applications = GatheredReads(CHATS, self._reads, READS_AT_ONCE)
        self._chats: dict[ChatKey, ChatFeed] = {}
        self._applications: dict[str, ApplicationFeed] = {}
        self._paces: WeakValueDictionary[str, Pace] = WeakValueDictionary()  # kept by the feeds
        self._subscription = Subscription(self._wake, self._start_anew)
        self._looking: asyncio.Task[None] | None = None

    def chat(self, key: ChatKey, chat_id: int) -> ChatFeed:
        """Return the feed of a chat."""
        feed = self._chats.get(key)
        if feed is None:
            feed = self._chats[key] = ChatFeed(key, chat_id, self._read_chats, self._pace(key[0]))
            self._look()
        return feed

    def application(self, access_token: str, application_id: int, seen: int) -> ApplicationFeed:
        """Return the feed of an application; `seen` is the highest id of a last message."""
        feed = self._applications.get(access_token)
        if feed is None:
            feed = self._applications[access_token] = ApplicationFeed(
                access_token,
                application_id,
                seen,
                self._read_applications,
                self._pace(access_token),
            )
            self._look()
        return feed

    def drop(self, feed: ChatFeed | ApplicationFeed) -> None:
        """Drop a feed if nobody follows it any more."""
        if feed.followers:
            return
        if isinstance(feed, ChatFeed):
            self._chats.pop(feed.key, None)
        else:
            self._applications.pop(feed.key, None)

    async def close(self) -> None:
        """Stop everything."""
        await self._subscription.stop()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        await self._looks.close()
        await self._reads.close()

    def _pace(self, access_token: str) -> Pace:
        pace = self._paces.get(access_token)
        if pace is None:
            pace = self._paces[access_token] = Pace()
        return pace

    def start(self) -> None:
        """Listen to announcements, also before anybody follows a chat: so none is missed."""
        self._subscription.start()

    def _look(self) -> None:
        """Look once a second from now on, as long as anybody follows a chat."""
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_always())

    def _wake(self, changed: ChangedChats) -> None:
        """Wake the feeds of chats that were announced."""
        for key in changed.chats:
            if key[1] == WHOLE_APPLICATION:
                self._wake_chats_of(key[0])
            feed = self._chats.get(key)
            if feed is not None:
                feed.wake(changed.at_ms / 1000)
            application = self._applications.get(key[0])
            if application is not None:
                application.wake(key[1])

    def _wake_chats_of(self, access_token: str) -> None:
        for key, feed in list(self._chats.items()):
            if key[0] == access_token:
                feed.wake()

    def _start_anew(self) -> None:
        """Announcements may have been missed: have everybody read the lists again."""
        for application in self._applications.values():
            application.start_anew()

    async def _look_always(self) -> None:
        while self._chats or self._applications:
            await asyncio.sleep(stream_limits.LOOK_SECONDS)
            try:
                await self._look_at_chats()
                await self._look_at_applications()
            except psycopg.Error as error:
                logger.warning("streams were not looked after: %s", error)
            except Exception:
                logger.exception("a look for streams failed")
        self._looking = None

    async def _look_at_chats(self) -> None:
        """Wake the feeds of chats with something behind the cursor of a follower."""
        feeds = list(self._chats.values())
        for first in range(0, len(feeds), LOOKED_AT_ONCE):
            part = feeds[first : first + LOOKED_AT_ONCE]
            followed = [(feed, oldest) for feed in part if (oldest := feed.oldest) is not None]
            at = [(feed.key[0], feed.id, *oldest) for feed, oldest in followed]
            for (position,) in await self._ask(CHATS_AHEAD, at):
                feed, _ = followed[position - 1]
                feed.wake()

    async def _look_at_applications(self) -> None:
        """Send the states of chats written to or changed lately, if they were not sent before."""
        feeds = list(self._applications.values())
        at = [(feed.key, feed.id, feed.seen, monotonic() - feed.began) for feed in feeds]
        for position, chat_number, last_message_id, change in await self._ask(WRITTEN_CHATS, at):
            feed = feeds[position - 1]
            if chat_number is None:
                feed.end()
            elif change is not None:
                feed.look_at_change(chat_number, change)
            else:
                feed.look(chat_number, last_message_id)
        for feed in feeds:
            feed.retry()

    async def _ask(
        self, statement: str, rows: Sequence[tuple[str | float, ...]]
    ) -> Sequence[tuple[Any, ...]]:
        """Execute a statement whose parameters are the columns of some rows."""
        if not rows:
            return ()
        columns = zip(*rows, strict=True)
        return await self._looks.fetch(statement, [",".join(map(str, each)) for each in columns])
