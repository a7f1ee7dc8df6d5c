"""Those who follow a chat or an application: streams, and lists that wait for something new."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from crud_service.live.cursor import Cursor
from web.server.request import Request


class Follower(Protocol):
    """What a chat's feed needs of its followers."""

    cursor: Cursor

    def take(self, events: bytes, *, created: bool) -> bool:
        """Take events, `created` if messages were; return whether there is room for more.

        A follower without room is given nothing until it resumes at its feed.
        """
        ...

    def end(self) -> None:
        """Follow no longer: there is nothing left to follow."""


class Feed(Protocol):
    """What a stream needs of its feed."""

    def resume(self, stream: "Stream") -> None:
        """Give the stream events again: it has room."""

    def remove(self, stream: "Stream") -> None:
        """Give the stream nothing more."""


class Stream:
    """A stream: a request whose answer goes on, and how far it has come.

    It has neither a task nor a buffer. A client that reads slowly stays behind with its cursor,
    and is given the events behind it once it has room for them.
    """

    __slots__ = ("_feed", "_leave", "_request", "cursor")

    def __init__(
        self, request: Request, feed: Feed, cursor: Cursor, leave: Callable[["Stream"], None]
    ) -> None:
        """`leave` is called once, when either side ends the stream."""
        self._request = request
        self._feed = feed
        self._leave = leave
        self.cursor = cursor
        request.on_writable = self._resume
        request.on_disconnect = self._left
        request.on_shutdown = self.end
        # Nobody reads these any more, and there may be ten thousand streams.
        request.headers, request.query = [], b""
        request.drop_body()

    @property
    def has_room(self) -> bool:
        """Whether the client has read enough to be sent more."""
        return self._request.is_writable

    def take(self, events: bytes, *, created: bool = False) -> bool:
        """Send events; return whether there is room for more."""
        self._request.write(events)
        return self._request.is_writable

    def end(self) -> None:
        """End the answer, after the events that were sent."""
        self._left()
        self._request.end()

    def _resume(self) -> None:
        self._feed.resume(self)

    def _left(self) -> None:
        # A connection that is being aborted reports the loss a moment later.
        request = self._request
        request.on_writable = request.on_disconnect = request.on_shutdown = None
        self._feed.remove(self)
        self._leave(self)


class Waiter:
    """A list that waits until its chat has a message behind a number."""

    __slots__ = ("_is_over", "cursor")

    def __init__(self, cursor: Cursor) -> None:
        self.cursor = cursor
        self._is_over = asyncio.Event()

    def take(self, events: bytes, *, created: bool) -> bool:
        """Stop waiting if a message was created."""
        if created:
            self.end()
        return not created

    def end(self) -> None:
        """Wait no longer."""
        self._is_over.set()

    async def wait(self, seconds: float) -> None:
        """Wait for a message, at most this long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_over.wait()
