"""The blocking client: the methods of the asynchronous one, run to their end."""

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import httpx

from chat_backend_client.async_client import (
    AsyncApplicationClient,
    AsyncApplications,
    AsyncChatClient,
)
from chat_backend_client.lists import AsyncPages, Page
from chat_backend_client.retries import Retries
from chat_backend_client.session import Session
from chat_backend_client.transport import LIMITS, TIMEOUT_SECONDS, BlockingTransport, iterate, run

A = TypeVar("A")
T = TypeVar("T")
P = ParamSpec("P")


class Blocking(Generic[A]):
    """A blocking view of an asynchronous object whose coroutines never suspend."""

    def __init__(self, asynchronous: A) -> None:
        self._asynchronous = asynchronous


class Pages(Generic[T]):
    """A list: iterate over its items, or over its `pages()`; both are read as they are needed."""

    def __init__(self, pages: AsyncPages[T]) -> None:
        self._pages = pages

    def __iter__(self) -> Iterator[T]:
        return iterate(self._pages.items())

    def pages(self) -> Iterator[Page[T]]:
        return iterate(self._pages.pages())


def result(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Blocking[A], P], T]:
    """Make a method that returns what a coroutine returns."""

    @wraps(method)
    def blocking(view: Blocking[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run(method(view._asynchronous, *args, **kwargs))

    return blocking


def stream(
    method: Callable[Concatenate[A, P], AsyncGenerator[T]],
) -> Callable[Concatenate[Blocking[A], P], Iterator[T]]:
    """Make a method that yields what an asynchronous generator yields."""

    @wraps(method)
    def blocking(view: Blocking[A], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        return iterate(method(view._asynchronous, *args, **kwargs))

    return blocking


def pages(
    method: Callable[Concatenate[A, P], AsyncPages[T]],
) -> Callable[Concatenate[Blocking[A], P], Pages[T]]:
    """Make a method that returns a list."""

    @wraps(method)
    def blocking(view: Blocking[A], /, *args: P.args, **kwargs: P.kwargs) -> Pages[T]:
        return Pages(method(view._asynchronous, *args, **kwargs))

    return blocking


class ChatClient(Blocking[AsyncChatClient]):
    """A chat of an application; whether it exists shows with the first request."""

    @property
    def number(self) -> int:
        return self._asynchronous.number

    read = result(AsyncChatClient.read)
    read_versioned = result(AsyncChatClient.read_versioned)
    update = result(AsyncChatClient.update)
    delete = result(AsyncChatClient.delete)
    create_message = result(AsyncChatClient.create_message)
    create_messages = result(AsyncChatClient.create_messages)
    message = result(AsyncChatClient.message)
    message_versioned = result(AsyncChatClient.message_versioned)
    update_message = result(AsyncChatClient.update_message)
    delete_message = result(AsyncChatClient.delete_message)
    messages = pages(AsyncChatClient.messages)
    changes = pages(AsyncChatClient.changes)
    search = pages(AsyncChatClient.search)
    follow = stream(AsyncChatClient.follow)


class ApplicationClient(Blocking[AsyncApplicationClient]):
    """An application; whether it exists shows with the first request."""

    @property
    def access_token(self) -> str:
        return self._asynchronous.access_token

    def chat(self, number: int) -> ChatClient:
        """Return a chat of the application; sends no request."""
        return ChatClient(self._asynchronous.chat(number))

    read = result(AsyncApplicationClient.read)
    read_versioned = result(AsyncApplicationClient.read_versioned)
    update = result(AsyncApplicationClient.update)
    delete = result(AsyncApplicationClient.delete)
    rotate = result(AsyncApplicationClient.rotate)
    export = stream(AsyncApplicationClient.export)
    create_chat = result(AsyncApplicationClient.create_chat)
    chats = pages(AsyncApplicationClient.chats)
    follow = stream(AsyncApplicationClient.follow)


class Client(Blocking[AsyncApplications]):
    """Both services; close it, or use it as a context manager. Threads may share it.

    `admin_token` is the services' `ADMIN_TOKEN`, if they have one. `http` replaces the client
    that is made by default, for proxies, certificates or other timeouts.
    """

    def __init__(
        self,
        crud_url: str,
        numbering_url: str,
        *,
        admin_token: str | None = None,
        retries: Retries | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        self._http = http or httpx.Client(timeout=TIMEOUT_SECONDS, limits=LIMITS)
        transport = BlockingTransport(self._http)
        session = Session(transport, crud_url, numbering_url, admin_token, retries)
        super().__init__(AsyncApplications(session))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def application(self, access_token: str) -> ApplicationClient:
        """Return an application; sends no request."""
        return ApplicationClient(self._asynchronous.application(access_token))

    create_application = result(AsyncApplications.create_application)
    applications = pages(AsyncApplications.applications)
