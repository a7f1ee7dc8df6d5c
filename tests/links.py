"""Links that can be cut: a TCP proxy between two parts, in a thread of the test.

    link.refuse()       connections are reset and new ones refused, until `heal`
    link.reset()        connections are reset, new ones work
    link.half_open()    connections go silent for good, new ones work
    link.silence()      the same, and new connections get no answer either, until `heal`
    link.silence_from() the same for those who connect from some addresses
    link.heal()         new connections work; silent ones stay silent

A silent connection is one whose packets the kernel drops unseen (a socket
filter that lets nothing pass), so that neither acknowledgements nor answers to
keep-alive probes come back: what a cable that was pulled looks like. A proxy
that merely stopped reading would still acknowledge everything.
"""

import asyncio
import contextlib
import ctypes
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Self

from local_stack.ports import choose_port

SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27
CHUNK = 64 * 1024
RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Streams = tuple[asyncio.StreamWriter, asyncio.StreamWriter]


class Links:
    """The event loop, in a thread of its own, in which the bytes of all links pass."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self.links: list[Link] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for link in self.links:
            self.run(link.close())
        self.run(cancel_all_tasks())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in the loop, and wait until it is done."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def stop_accepting(self, listening: socket.socket) -> None:
        self._loop.remove_reader(listening)

    def add(self, target: Callable[[], int]) -> "Link":
        """A link from a free port to a local port, which is asked for at each connection."""
        link = Link(self, target)
        self.run(link.listen())
        self.links.append(link)
        return link


class Link:
    """One proxy; see the head of this file."""

    def __init__(self, links: Links, target: Callable[[], int]):
        self._links = links
        self._target = target
        self._socket = bound_socket(choose_port())
        self.port: int = self._socket.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._open: set[Streams] = set()
        self._silent: list[Streams] = []
        self._silenced: Collection[str] = ()

    def refuse(self) -> None:
        self._links.run(self.stop_listening())
        self.reset()

    def reset(self) -> None:
        self._links.run(self._reset())

    def refuse_then_reset(self, refused_seconds: float, pause_seconds: float) -> None:
        """Refuse connections for a while, then reset them."""
        self.refuse()
        time.sleep(refused_seconds)
        self.heal()
        time.sleep(pause_seconds)
        self.reset()
        time.sleep(pause_seconds)

    def half_open(self) -> None:
        self._links.run(self._half_open())

    def silence(self) -> None:
        drop_packets(self._socket)
        self.half_open()

    def silence_from(self, addresses: Collection[str]) -> None:
        self._silenced = addresses
        self._links.run(self._half_open(self._is_silenced))

    def heal(self) -> None:
        self._silenced = ()
        if self._server is None:
            self._socket = bound_socket(self.port)
            self._links.run(self.listen())
        with contextlib.suppress(OSError):  # no filter is there
            self._socket.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._connected, sock=self._socket, backlog=128)

    async def stop_listening(self) -> None:
        if self._server is not None:
            # asyncio drops connections that it has accepted and not yet passed on, with warnings:
            # accept no more first, and let it pass on the last of them.
            self._links.stop_accepting(self._socket)
            await asyncio.sleep(0.01)
            self._server.close()
            self._server = None

    async def close(self) -> None:
        await self.stop_listening()
        await self._reset()
        for streams in self._silent:
            abort(streams)

    async def _reset(self) -> None:
        for streams in list(self._open):
            abort(streams)
        self._open.clear()

    def _is_silenced(self, client: asyncio.StreamWriter) -> bool:
        return client.get_extra_info("peername")[0] in self._silenced

    async def _half_open(
        self, is_meant: Callable[[asyncio.StreamWriter], bool] = lambda _: True
    ) -> None:
        for streams in [each for each in self._open if is_meant(each[0])]:
            for writer in streams:
                drop_packets(writer.get_extra_info("socket"))
            self._silent.append(streams)
            self._open.discard(streams)

    async def _connected(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._is_silenced(client):
            drop_packets(client.get_extra_info("socket"))
            self._silent.append((client, client))
            return
        try:
            from_server, server = await asyncio.open_connection("127.0.0.1", self._target())
        except OSError:
            client.transport.abort()
            return
        streams = (client, server)
        self._open.add(streams)
        try:
            await asyncio.gather(pump(reader, server), pump(from_server, client))
        finally:
            if streams not in self._silent:
                self._open.discard(streams)
                close(streams)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on in one direction, and the end as well."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError, RuntimeError):
        writer.write_eof()


def bound_socket(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def drop_packets(connection: socket.socket) -> None:
    """Have the kernel drop whatever arrives for a socket (BPF: return 0 bytes)."""
    program = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
    option = struct.pack("HL", 1, ctypes.addressof(program))
    connection.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, option)


def abort(streams: Streams) -> None:
    """Reset a connection on both sides, at once."""
    for writer in streams:
        with contextlib.suppress(OSError):
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        writer.transport.abort()


def close(streams: Streams) -> None:
    for writer in streams:
        writer.close()


async def cancel_all_tasks() -> None:
    """End what still waits for bytes that will not come."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
