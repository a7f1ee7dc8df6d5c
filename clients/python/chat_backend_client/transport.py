"""The I/O of both clients behind one interface.

The logic of this package is written once, as coroutines. With `BlockingTransport`, which never
suspends, `run` and `iterate` turn them into ordinary functions and iterators.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

import anyio
import httpx

T = TypeVar("T")

# Longer than the services wait for a store that restarts.
TIMEOUT_SECONDS = 15.0
# A stream holds a connection for as long as it is followed: with a limit, streams would leave no
# connection for anything else. What is kept idle is httpx's default.
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)
# `time.sleep` overflows at some centuries, and a `Retry-After` may have any number of digits.
LONGEST_SLEEP_SECONDS = 1e9


class Transport(Protocol):
    @property
    def http(self) -> httpx.AsyncClient | httpx.Client: ...

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request; the response's body is to be read and closed."""
        ...

    async def read(self, response: httpx.Response) -> None: ...
    def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]: ...
    async def close(self, response: httpx.Response) -> None: ...
    async def sleep(self, seconds: float) -> None: ...


class AsyncTransport:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def send(self, request: httpx.Request) -> httpx.Response:
        return await self.http.send(request, stream=True)

    async def read(self, response: httpx.Response) -> None:
        await response.aread()

    def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        return response.aiter_bytes()

    async def close(self, response: httpx.Response) -> None:
        await response.aclose()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)


class BlockingTransport:
    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    async def send(self, request: httpx.Request) -> httpx.Response:
        return self.http.send(request, stream=True)

    async def read(self, response: httpx.Response) -> None:
        response.read()

    async def chunks(self, response: httpx.Response) -> AsyncIterator[bytes]:
        for chunk in response.iter_bytes():
            yield chunk

    async def close(self, response: httpx.Response) -> None:
        response.close()

    async def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, LONGEST_SLEEP_SECONDS))


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("a coroutine of the blocking client suspended")


def iterate(items: AsyncGenerator[T]) -> Iterator[T]:
    """Yield what an asynchronous generator yields that never suspends."""
    try:
        while True:
            try:
                item = run(items.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(items.aclose())
