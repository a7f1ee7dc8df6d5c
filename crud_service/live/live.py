"""Answers requests for streams, and lets lists wait for something new.

These requests come here before they go anywhere else. What can't become a stream (a malformed
cursor, a chat that does not exist) is left to the views, which answer it as they do elsewhere.
"""

import asyncio
from time import monotonic, perf_counter
from typing import NamedTuple

from django.conf import settings

from contract.paths import mask_path
from crud_service.api.lists.list_request import ListRequest
from crud_service.api.lists.list_rows import has_rows
from crud_service.api.not_stored_yet import missing_chat
from crud_service.fair_threads import FairThreads
from crud_service.live.application_feed import ApplicationFeed
from crud_service.live.chat_feed import ChatFeed
from crud_service.live.cursor import Cursor
from crud_service.live.events import RETRY, event
from crud_service.live.feeds import Feeds
from crud_service.live.followers import Stream, Waiter
from crud_service.live.open_streams import OpenStreams
from crud_service.live.statements import OPEN_APPLICATION, OPEN_CHAT
from crud_service.live.stream_limits import HEAD_BYTES_OF_A_WAIT, StreamLimits
from crud_service.live.wanted import (
    ApplicationStream,
    ChatStream,
    StreamWanted,
    WaitingList,
    Wanted,
    wanted,
)
from crud_service.monitoring.request_log import RequestLog
from crud_service.reads.connection import ReadConnection
from crud_service.reads.fast_reads import head
from crud_service.reads.gathered_reads import GatheredReads, Key
from web.problems import HeadersTooLarge, NotStoredYet, Problem, StoreUnavailable
from web.server.answers import CLIENT_CLOSED
from web.server.request import Request

# Between looks for a chat whose number was handed out: seconds, some three in all.
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
FILTERED_PAUSE = 0.05
ROUTES = {
    ApplicationStream: "application_stream",
    ChatStream: "message_stream",
    WaitingList: "messages",
}
HEADERS = "Content-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Accel-Buffering: no\r\n"


class Lookup(NamedTuple):
    """A lookup whose result is awaited."""

    key: Key
    result: "asyncio.Future[bytes | Problem | None]"

    def settle(self, found: bytes | Problem | None) -> None:
        """Take what was found."""
        if not self.result.done():
            self.result.set_result(found)


class Beginning(NamedTuple):
    """What a stream begins with: its feed, its cursor, and the events before those of the feed."""

    feed: ChatFeed | ApplicationFeed
    cursor: Cursor
    events: bytes


class Live:
    """The streams of this process; create and use it on a single event loop."""

    def __init__(self, log: RequestLog, threads: FairThreads, limits: StreamLimits) -> None:
        self._log = log
        self._threads = threads
        self._connection = ReadConnection()
        self._chats = GatheredReads(OPEN_CHAT, self._connection)
        self._applications = GatheredReads(OPEN_APPLICATION, self._connection)
        self._feeds = Feeds()
        self._streams = OpenStreams(settings.MAX_STREAMS, limits)

    def start(self) -> None:
        """Listen to what changes."""
        self._feeds.start()

    async def take(self, request: Request) -> bool:
        """Begin a stream, or wait until a list has something new.

        Returns False if the request is now to be answered in the ordinary way. Raises the
        Problem of a refusal.
        """
        want = wanted(request)
        if want is None:
            return False
        self._streams.admit(want.access_token)
        beginning = None
        try:
            if isinstance(want, WaitingList):
                await self._wait(request, want)
                return self._has_left(request, want)
            if isinstance(want, ChatStream):
                beginning = await self._find_chat(want)
            else:
                beginning = await self._find_application(want)
        except (StoreUnavailable, NotStoredYet):
            if isinstance(want, WaitingList) or not is_event_source(request):
                raise
            self._send_head(request, want)
            request.end()
            return True
        finally:
            if beginning is None:
                self._streams.dismiss(want.access_token)
        if beginning is None:
            return self._has_left(request, want)
        self._begin(request, want, beginning)
        return True

    async def close(self) -> None:
        """Close the connections, once the streams have ended."""
        self._streams.close()
        await self._feeds.close()
        await self._connection.close()

    async def _wait(self, request: Request, want: WaitingList) -> None:
        """Return once there is a message behind the number, or the time is over."""
        request.drop_body()
        if request.head_bytes > HEAD_BYTES_OF_A_WAIT:
            raise HeadersTooLarge
        ends_at = monotonic() + want.seconds
        behind = await self._wait_behind(request, want, ends_at)
        while behind is not None and want.filters:
            # A chat may have many messages a second, and none that the filters let through.
            await asyncio.sleep(FILTERED_PAUSE)
            behind = await self._wait_behind(request, want._replace(after=behind), ends_at)

    async def _wait_behind(self, request: Request, want: WaitingList, ends_at: float) -> int | None:
        """Wait until something is stored behind the number.

        Returns the number behind which to look then, None if there is nothing to wait for.
        """
        key = (want.access_token, want.chat_number)
        found = await self._find(self._chats, *key)
        if found is None:
            return None
        chat_id, highest_number, change = map(int, found.split())
        if highest_number > want.after and await self._has_messages(want):
            return None
        # Behind all that is awaited: nobody notes an end of the request before it has a waiter.
        seconds = ends_at - monotonic()
        if request.is_disconnected or request.is_ending or seconds <= 0:
            return None
        behind = max(want.after, highest_number)
        feed = self._feeds.chat(key, chat_id)
        waiter = Waiter(Cursor(behind, change))
        request.on_disconnect = request.on_shutdown = waiter.end
        feed.add(waiter)
        try:
            await waiter.wait(seconds)
        finally:
            feed.remove(waiter)
            self._feeds.drop(feed)
            request.on_disconnect = request.on_shutdown = None
        return behind

    async def _has_messages(self, want: WaitingList) -> bool:
        """Whether any of the messages behind the number passes the filters."""
        if not want.filters:
            return True
        token, chat = want.access_token, str(want.chat_number)
        values = {"access_token": token, "chat_number": chat, **want.filters}
        request = ListRequest(want.messages, values)
        return await self._threads.run(token, has_rows, request, want.after)

    async def _find_chat(self, want: ChatStream) -> Beginning | None:
        """Return how a stream of a chat begins; None if there is no such chat."""
        key = (want.access_token, want.chat_number)
        found = await self._find(self._chats, *key)
        for pause in PAUSES:
            # A browser's EventSource gives up on anything but 200, and asks for a chat as soon as
            # its creation is answered.
            if found is not None:
                break
            if not await self._is_being_stored(*key):
                return None
            await asyncio.sleep(pause)
            found = await self._find(self._chats, *key)
        if found is None:
            raise NotStoredYet
        chat_id, *position = map(int, found.split())
        end = Cursor(*position)
        cursor = want.start.resolve(end)
        state = (
            f'{{"chat_number":{want.chat_number},"highest_number":{end.number},'
            f'"highest_change":{end.change}}}'
        )
        events = event("ready", str(cursor or end), state)
        if cursor is None:
            events += event("reset", str(end), state)
        return Beginning(self._feeds.chat(key, chat_id), cursor or end, events)

    async def _is_being_stored(self, access_token: str, chat_number: int) -> bool:
        """Whether a missing chat's number was handed out."""
        ask = self._threads.run
        return isinstance(
            await ask(access_token, missing_chat, access_token, chat_number), NotStoredYet
        )

    async def _find_application(self, want: ApplicationStream) -> Beginning | None:
        """Return how a stream of an application begins; None if there is no such application."""
        found = await self._find(self._applications, want.access_token)
        if found is None:
            return None
        application_id, last_message_id = map(int, found.split())
        feed = self._feeds.application(want.access_token, application_id, last_message_id)
        return Beginning(feed, Cursor(0, 0), b"")

    async def _find(self, reads: GatheredReads, *key: str | int) -> bytes | None:
        """Return what a lookup finds; raises a Problem if the store fails."""
        result: asyncio.Future[bytes | Problem | None] = asyncio.get_running_loop().create_future()
        reads.find(Lookup(tuple(map(str, key)), result))
        found = await result
        if isinstance(found, Problem):
            raise found
        return found

    def _begin(self, request: Request, want: StreamWanted, beginning: Beginning) -> None:
        """Send the head and the first events; from then on the feed goes on."""
        feed, cursor, events = beginning

        def leave(stream: Stream) -> None:
            self._streams.remove(stream)
            self._streams.dismiss(want.access_token)
            self._feeds.drop(feed)

        # The head of the answer depends on headers of the request, which a stream drops.
        self._send_head(request, want)
        stream = Stream(request, feed, cursor, leave)
        request.limit_unsent()
        request.write(events)
        self._streams.add(stream)
        feed.add(stream)
        if request.method == "HEAD" or request.is_disconnected or request.is_ending:
            stream.end()

    def _send_head(self, request: Request, want: StreamWanted) -> None:
        """Send and log the head of a stream, and when to connect again after its end."""
        self._note(request, want, 200)
        request.begin(200, head(HEADERS, request.id))
        request.write(RETRY)

    def _has_left(self, request: Request, want: Wanted) -> bool:
        """Return whether the client has disconnected, and log it."""
        if request.is_disconnected:
            self._note(request, want, CLIENT_CLOSED)
        return request.is_disconnected

    def _note(self, request: Request, want: Wanted, status: int) -> None:
        seconds = perf_counter() - request.started
        path = mask_path(request.path)
        self._log.note(request.id, request.method, ROUTES[type(want)], path, status, seconds)


def is_event_source(request: Request) -> bool:
    """Whether a request is a browser's `EventSource`, or a client that works like one.

    It gives up on anything but 200; a stream that ends at once has it connect again.
    """
    return "text/event-stream" in (request.header(b"accept") or "").lower()
