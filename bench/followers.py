"""Many clients that follow streams, in a thread; they note when events come and keep nothing."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import Self, cast
from urllib.parse import urlsplit

import uvloop

from bench.tools import BenchError

READY, CREATED = b"event: ready", b"event: message.created"
OPENED_AT_ONCE = 250
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.005


class Followers:
    """Streams of these paths, all of them open inside of a `with`."""

    def __init__(self, url: str, paths: Sequence[str]) -> None:
        parts = urlsplit(url)
        self.address = (str(parts.hostname), int(parts.port or 80))
        self.ready = self.arrived = self.ended = 0
        self.last_at = 0.0
        self.refused = ""
        self._paths = paths
        self.streams: list[Stream] = []
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="followers")

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._run()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def wait_for(self, arrived: int) -> float:
        """Wait until so many events have come in all; return when the last one came."""
        self._wait(lambda: self.arrived >= arrived)
        return self.last_at

    def _run(self) -> None:
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(PATIENCE_SECONDS)
        self._wait(lambda: self.ready >= len(self._paths))

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if self.refused or self.ended:
                raise BenchError(f"{self.ended} streams ended {self.refused}")
            if time.monotonic() > deadline:
                raise BenchError(f"{self.ready} streams, {self.arrived} events: not all came")
            time.sleep(LOOK_SECONDS)

    async def _open(self) -> None:
        for first in range(0, len(self._paths), OPENED_AT_ONCE):
            part = self._paths[first : first + OPENED_AT_ONCE]
            await asyncio.gather(*map(self._connect, part))
            while self.ready < len(self.streams) and not (self.ended or self.refused):
                await asyncio.sleep(0.01)

    async def _connect(self, path: str) -> None:
        _, stream = await self._loop.create_connection(lambda: Stream(self, path), *self.address)
        self.streams.append(stream)

    async def _close(self) -> None:
        for stream in self.streams:
            stream.close()
        await asyncio.sleep(0.1)


class Stream(asyncio.Protocol):
    """One stream: its chunks and fields are not parsed, its events only counted."""

    __slots__ = ("_followers", "_is_ready", "_path", "_rest", "_transport")

    def __init__(self, followers: Followers, path: str) -> None:
        self._followers = followers
        self._path = path
        self._rest = b""
        self._is_ready = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have its methods and are none of its subclasses.
        self._transport: asyncio.Transport | None = cast(asyncio.Transport, transport)
        head = f"GET {self._path} HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n\r\n"
        self._transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        received = self._rest + data
        if not self._is_ready and received.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")):
            self._followers.refused = received.decode(errors="replace")[-300:]
        # An event's name may be cut in two by reads; one byte less of it is never counted twice.
        self._rest = received[1 - len(CREATED) :]
        if created := received.count(CREATED):
            self._followers.arrived += created
            self._followers.last_at = time.perf_counter()
        if not self._is_ready and READY in received:
            self._is_ready = True
            self._followers.ready += 1

    def connection_lost(self, _: Exception | None) -> None:
        if self._transport is not None:
            self._followers.ended += 1

    def close(self) -> None:
        """Close it from this side."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
