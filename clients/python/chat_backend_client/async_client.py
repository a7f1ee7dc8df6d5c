"""The API as coroutines; `client` makes a blocking one of the same methods."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, Unpack, cast

import httpx

from chat_backend_client.calls import creation, listing, segment
from chat_backend_client.errors import NoAnswer, Problem
from chat_backend_client.events import (
    ChatChanged,
    MessageEvent,
    Ready,
    application_event,
    message_event,
)
from chat_backend_client.lists import AsyncPages
from chat_backend_client.resources import (
    Application,
    ApplicationQuery,
    Chat,
    ChatAttributes,
    ChatChanges,
    ChatQuery,
    CreatedChat,
    CreatedMessage,
    CreatedMessages,
    ExportLine,
    FoundMessage,
    ListedChat,
    Message,
    MessageAttributes,
    MessageChanges,
    MessageQuery,
    NewMessage,
    SearchQuery,
)
from chat_backend_client.retries import Retries
from chat_backend_client.session import Call, Session, Versioned
from chat_backend_client.transport import LIMITS, TIMEOUT_SECONDS, AsyncTransport

PAGE_SIZE = 100


class AsyncChatClient:
    """A chat of an application; whether it exists shows with the first request."""

    def __init__(self, session: Session, access_token: str, number: int) -> None:
        self.number = number
        self._session = session
        self._path = f"/applications/{access_token}/chats/{segment('a chat number', number)}"
        self._url = f"{session.crud_url}{self._path}"

    async def read(self, *, until_stored: bool = False) -> Chat:
        """Return the chat; `until_stored` waits if it has just been created."""
        return (await self.read_versioned(until_stored=until_stored)).value

    async def read_versioned(self, *, until_stored: bool = False) -> Versioned[Chat]:
        """Return the chat with its entity tag."""
        call = Call(method="GET", url=self._url, until_stored=until_stored)
        return await self._session.versioned(call)

    async def update(self, *, if_match: str | None = None, **changes: Unpack[ChatChanges]) -> Chat:
        """Change name, metadata or both; with `if_match` only if the state has that entity tag."""
        return cast(Chat, await self._session.put(self._url, changes, if_match))

    async def delete(self, *, if_match: str | None = None) -> None:
        """Delete the chat with all its messages; its number stays taken."""
        await self._session.delete(self._url, if_match, admin=True)

    async def create_message(
        self,
        body: str,
        *,
        idempotency_key: str | None = None,
        **attributes: Unpack[MessageAttributes],
    ) -> CreatedMessage:
        """Create a message, once, however often it has to be sent; return its number."""
        message = {"body": body, **attributes}
        return cast(CreatedMessage, await self._create("messages", message, idempotency_key))

    async def create_messages(
        self, messages: Sequence[NewMessage], *, idempotency_key: str | None = None
    ) -> CreatedMessages:
        """Create up to 500 messages with consecutive numbers: all of them or none."""
        content = {"messages": messages}
        return cast(CreatedMessages, await self._create("messages/bulk", content, idempotency_key))

    async def _create(self, path: str, content: object, key: str | None) -> Any:
        url = f"{self._session.numbering_url}{self._path}/{path}"
        return await self._session.json(creation(url, content, key))

    async def message(self, number: int, *, until_stored: bool = False) -> Message:
        """Return a message; `until_stored` waits if it has just been created."""
        return (await self.message_versioned(number, until_stored=until_stored)).value

    async def message_versioned(
        self, number: int, *, until_stored: bool = False
    ) -> Versioned[Message]:
        """Return a message with its entity tag."""
        url = self._message_url(number)
        return await self._session.versioned(Call(method="GET", url=url, until_stored=until_stored))

    async def update_message(
        self, number: int, *, if_match: str | None = None, **changes: Unpack[MessageChanges]
    ) -> Message:
        """Change body, metadata or both; with `if_match` only if the state has that entity tag."""
        return cast(Message, await self._session.put(self._message_url(number), changes, if_match))

    async def delete_message(self, number: int, *, if_match: str | None = None) -> None:
        """Delete a message; its number stays taken."""
        await self._session.delete(self._message_url(number), if_match)

    def _message_url(self, number: int) -> str:
        return f"{self._url}/messages/{segment('a message number', number)}"

    def messages(
        self, *, page_size: int = PAGE_SIZE, **query: Unpack[MessageQuery]
    ) -> AsyncPages[Message]:
        """List messages by number."""
        return listing(self._session, f"{self._url}/messages", query, page_size)

    def changes(self, changed_after: int, *, page_size: int = PAGE_SIZE) -> AsyncPages[Message]:
        """List messages that changed after a change, in the order of their changes.

        Continue with the `last_change` of the last page.
        """
        query = {"changed_after": changed_after}
        return listing(self._session, f"{self._url}/messages", query, page_size)

    def search(
        self, keyword: str, *, page_size: int = PAGE_SIZE, **query: Unpack[SearchQuery]
    ) -> AsyncPages[FoundMessage]:
        """List messages that contain every part of a keyword, best match first."""
        parameters = {"keyword": keyword, **query}
        return listing(self._session, f"{self._url}/messages/search", parameters, page_size)

    async def follow(
        self, *, after: int | None = None, last_event_id: str | None = None
    ) -> AsyncGenerator[MessageEvent]:
        """Yield what happens to messages, without end, over lost connections.

        Starts after the event with an id, or after a message's number, else now; without an id,
        changes of messages are those from now on. Every creation comes once, in the order of
        numbers; several changes of a message may come as one.
        """
        url = f"{self._url}/messages/stream"
        async with aclosing(self._session.events(url, after, last_event_id)) as events:
            async for event in events:
                if content := message_event(event):
                    yield content


class AsyncApplicationClient:
    """An application; whether it exists shows with the first request."""

    def __init__(self, session: Session, access_token: str) -> None:
        self.access_token = access_token
        self._session = session
        self._url = f"{session.crud_url}/applications/{segment('an access token', access_token)}"

    def chat(self, number: int) -> AsyncChatClient:
        """Return a chat of the application; sends no request."""
        return AsyncChatClient(self._session, self.access_token, number)

    async def read(self) -> Application:
        """Return the application."""
        return (await self.read_versioned()).value

    async def read_versioned(self) -> Versioned[Application]:
        """Return the application with its entity tag."""
        return await self._session.versioned(Call(method="GET", url=self._url))

    async def update(self, name: str, *, if_match: str | None = None) -> Application:
        """Rename it; with `if_match` only if the state has that entity tag."""
        return cast(Application, await self._session.put(self._url, {"name": name}, if_match))

    async def delete(self) -> None:
        """Delete the application with everything in it."""
        try:
            await self._session.delete(self._url, admin=True)
        except Problem as problem:
            # A deletion whose response was lost finds nothing when it is repeated.
            if problem.code != "not_found" or problem.attempts == 1:
                raise

    async def rotate(self, *, idempotency_key: str | None = None) -> Application:
        """Give it a new access token, once, however often it has to be sent; return it.

        The former token is invalid at once, so continue with `client.application(new token)`.
        Keep your own `idempotency_key` until you have the token: with it the same answer is
        returned for 24 hours.
        """
        call = creation(f"{self._url}/rotate", None, idempotency_key)
        call = replace(call, headers={**call.headers, **self._session.admin})
        return cast(Application, await self._session.json(call))

    async def export(self) -> AsyncGenerator[ExportLine]:
        """Yield the application, then each chat followed by its messages, last a line `end`.

        Raises NoAnswer if the export is cut short; it can only be begun anew.
        """
        is_whole = False
        call = Call(method="GET", url=f"{self._url}/export")
        async with aclosing(self._session.lines(call)) as lines:
            async for line in lines:
                is_whole = line.get("type") == "end"
                yield line
        if not is_whole:
            raise NoAnswer("the export was cut short")

    async def create_chat(
        self, *, idempotency_key: str | None = None, **attributes: Unpack[ChatAttributes]
    ) -> CreatedChat:
        """Create a chat, once, however often it has to be sent; return its number."""
        url = f"{self._session.numbering_url}/applications/{self.access_token}/chats"
        created = await self._session.json(creation(url, attributes, idempotency_key))
        return cast(CreatedChat, created)

    def chats(
        self, *, page_size: int = PAGE_SIZE, **query: Unpack[ChatQuery]
    ) -> AsyncPages[ListedChat]:
        """List chats by number, or those written to last first (`sort="-last_message"`)."""
        return listing(self._session, f"{self._url}/chats", query, page_size)

    async def follow(self) -> AsyncGenerator[Ready | ChatChanged]:
        """Yield which chats change, without end, over lost connections.

        Read the list of chats after every `Ready`: what happened before it is not announced.
        """
        async with aclosing(self._session.events(f"{self._url}/stream")) as events:
            async for event in events:
                if content := application_event(event):
                    yield content


class AsyncApplications:
    """What both services hold."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def application(self, access_token: str) -> AsyncApplicationClient:
        """Return an application; sends no request."""
        return AsyncApplicationClient(self._session, access_token)

    async def create_application(self, name: str) -> Application:
        """Create an application. It has no idempotency key: a lost response is an error."""
        url = f"{self._session.crud_url}/applications"
        headers = self._session.admin
        call = Call(method="POST", url=url, json={"name": name}, headers=headers, repeatable=False)
        return cast(Application, await self._session.json(call))

    def applications(
        self, *, page_size: int = PAGE_SIZE, **query: Unpack[ApplicationQuery]
    ) -> AsyncPages[Application]:
        """List applications, oldest first."""
        url, headers = f"{self._session.crud_url}/applications", self._session.admin
        return listing(self._session, url, query, page_size, headers)


class AsyncClient(AsyncApplications):
    """Both services; close it, or use it as a context manager.

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
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._http = http or httpx.AsyncClient(timeout=TIMEOUT_SECONDS, limits=LIMITS)
        transport = AsyncTransport(self._http)
        super().__init__(Session(transport, crud_url, numbering_url, admin_token, retries))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()
