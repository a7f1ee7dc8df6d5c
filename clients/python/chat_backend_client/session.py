"""Sends requests, repeats them, and keeps streams open."""

import json
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar, cast

import httpx

from chat_backend_client.errors import ChatBackendError, NoAnswer, Problem, StreamReset
from chat_backend_client.event_stream import Event, EventStream
from chat_backend_client.retries import CONNECTION_ERRORS, Retries, may_succeed
from chat_backend_client.transport import Transport

T = TypeVar("T")

# A stream sends a comment every 15 seconds: longer silence means a dead connection.
SILENCE_SECONDS = 40.0
EVENT_STREAM = "text/event-stream"
SCHEMES = {"http", "https"}
# Until a stream names another time.
RECONNECT_SECONDS = 2.0
# What the services read of a request. The response to one that is much larger is lost, since the
# connection ends while it is still being sent, and it would be sent again in vain.
LARGEST_BODY_BYTES = 2**20
# Also for what is deleted in the background.
DELETED = {202, 204}


class Versioned(NamedTuple, Generic[T]):
    """A resource and the entity tag of its state, for `if_match`."""

    value: T
    etag: str


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request as it is repeated; what `repeatable` and `until_stored` mean, `retries` says."""

    method: str
    url: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = True
    until_stored: bool = False


class Answer(NamedTuple):
    """A successful response: its JSON value is None where the call has none."""

    headers: httpx.Headers
    value: Any


class Session:
    def __init__(
        self,
        transport: Transport,
        crud_url: str,
        numbering_url: str,
        admin_token: str | None,
        retries: Retries | None,
    ) -> None:
        self._transport, self._retries = transport, retries or Retries()
        self.crud_url = self._address("crud_url", crud_url)
        self.numbering_url = self._address("numbering_url", numbering_url)
        self.admin = {"Authorization": f"Bearer {admin_token}"} if admin_token else {}

    def _address(self, name: str, url: str) -> str:
        malformed = f"{name} has to be an address such as http://127.0.0.1:3000"
        try:
            # A client of the caller's may have a base, to which this one may be relative.
            whole = self._transport.http.build_request("GET", url).url
        except httpx.InvalidURL as error:
            raise ValueError(malformed) from error
        is_port = (whole.port or 0) < 2**16
        is_bare = not {"?", "#"} & set(url)
        if not (whole.scheme in SCHEMES and whole.host and is_port and is_bare):
            raise ValueError(malformed)
        return url.rstrip("/")

    async def send(self, call: Call) -> Answer:
        """Return a successful response; raise Problem or NoAnswer out of retries."""
        return await self._repeat(call, self._open_and_read)

    async def _repeat(self, call: Call, attempt: Callable[[Call], Awaitable[T]]) -> T:
        began, attempts = time.monotonic(), 0
        while True:
            attempts += 1
            try:
                return await attempt(call)
            except (ChatBackendError, *CONNECTION_ERRORS) as raised:
                error = as_ours(raised)
                error.attempts = attempts
                pause = self._retries.pause(attempts, error)
                late = time.monotonic() - began + pause > self._retries.seconds
                hopeless = not may_succeed(
                    error, repeatable=call.repeatable, until_stored=call.until_stored
                )
                if late or hopeless:
                    raise error from error.__cause__
            await self._transport.sleep(pause)

    async def json(self, call: Call) -> Any:
        return (await self.send(call)).value

    async def versioned(self, call: Call) -> Versioned[Any]:
        answer = await self.send(call)
        # Some proxies drop it. An empty one never matches, so it changes nothing by mistake.
        return Versioned(answer.value, answer.headers.get("ETag", ""))

    async def lines(self, call: Call) -> AsyncGenerator[Any]:
        """Yield the objects of a response that has one, as JSON, in each line.

        Only its beginning is repeated: raises NoAnswer if the connection ends or is silent later,
        or a line is not a JSON object.
        """
        response = await self._repeat(call, self._open)
        try:
            rest, number = b"", 0
            async for chunk in self._transport.chunks(response):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    number += 1
                    yield decoded_line(line, number)
        except CONNECTION_ERRORS as error:
            raise as_ours(error) from error
        finally:
            await self._transport.close(response)

    async def put(self, url: str, changes: Mapping[str, Any], if_match: str | None) -> Any:
        """Update a resource; return its state.

        An update whose response was lost does not match its own change when it is repeated.
        """
        headers = matching(if_match)
        try:
            return await self.json(Call(method="PUT", url=url, json=changes, headers=headers))
        except Problem as problem:
            if problem.code != "precondition_failed" or problem.attempts == 1:
                raise
            state: dict[str, Any] = await self.json(Call(method="GET", url=url))
            # As JSON has them: a tuple is a list there, and a number for a key a string.
            sent = json.loads(json.dumps(changes))
            if any(state.get(name) != value for name, value in sent.items()):
                raise
            return state

    async def delete(self, url: str, if_match: str | None = None, *, admin: bool = False) -> None:
        headers = matching(if_match) | (self.admin if admin else {})
        await self.send(Call(method="DELETE", url=url, headers=headers))

    async def events(
        self, url: str, after: int | None = None, last_event_id: str | None = None
    ) -> AsyncGenerator[Event]:
        """Yield the events of a stream, resumed whenever its connection ends.

        Raises NoAnswer if something else is answered in its place for as long as requests are
        repeated: a gateway's page, or that of a network to sign in to.
        """
        foreign_since: float | None = None
        began, failures, reconnect = time.monotonic(), 0, RECONNECT_SECONDS
        params = {} if after is None else {"after": after}
        call = Call(method="GET", url=url, params=params)
        while True:
            start = last_event_id
            headers = {"Last-Event-ID": start} if start else {}
            try:
                async with aclosing(self._events(replace(call, headers=headers))) as events:
                    async for event in events:
                        failures, foreign_since = 0, None
                        last_event_id = event.id or last_event_id
                        reconnect = reconnect if event.retry is None else event.retry
                        yield event
                # A service that stops ends all its streams at once.
                pause = random.uniform(0, reconnect)
            except (ChatBackendError, *CONNECTION_ERRORS) as raised:
                error, failures = as_ours(raised), failures + 1
                # What `after` names may have been numbered and not be stored yet.
                is_early = isinstance(error, StreamReset) and start is None
                if is_early and time.monotonic() - began < self._retries.seconds:
                    error, last_event_id = Problem(404, "not_stored_yet"), None
                if not may_succeed(error, repeatable=True, until_stored=True):
                    raise error from error.__cause__
                pause = self._retries.pause(failures, error)
                # Of the errors of a connection, only this one is ours already.
                if isinstance(raised, NoAnswer):
                    now = time.monotonic()
                    foreign_since = foreign_since or now
                    if now - foreign_since + pause > self._retries.seconds:
                        raise
            await self._transport.sleep(pause)

    async def _events(self, call: Call) -> AsyncGenerator[Event]:
        """Yield the events of one connection; raise StreamReset if it can't be resumed."""
        response = await self._open(call, SILENCE_SECONDS)
        try:
            media_type = response.headers.get("Content-Type", "")
            if not media_type.lower().startswith(EVENT_STREAM):
                raise NoAnswer(f"a stream that is answered with {media_type or 'no type'}")
            stream = EventStream()
            async for chunk in self._transport.chunks(response):
                for event in stream.feed(chunk):
                    if event.name == "reset":
                        raise StreamReset(event.id)
                    yield event
        finally:
            await self._transport.close(response)

    async def _open(self, call: Call, silence: float | None = None) -> httpx.Response:
        """Return a response whose body is not read yet; raise Problem if it is an error."""
        timeout = self._transport.http.timeout
        if silence is not None:
            timeout = httpx.Timeout(**{**timeout.as_dict(), "read": silence})
        request = self._transport.http.build_request(
            call.method,
            call.url,
            params=call.params,
            json=call.json,
            headers=as_headers(call.headers),
            timeout=timeout,
        )
        if len(request.content) > LARGEST_BODY_BYTES:
            raise Problem(413, "body_too_large", "the request body is larger than 1 MiB")
        response = await self._transport.send(request)
        if response.is_success:
            return response
        await self._read(response)
        raise Problem.from_response(response)

    async def _open_and_read(self, call: Call) -> Answer:
        response = await self._open(call)
        await self._read(response)
        is_deletion = call.method == "DELETE"
        if is_deletion and response.status_code not in DELETED:
            raise NoAnswer(f"a deletion that is answered {response.status_code}")
        return Answer(response.headers, None if is_deletion else decoded(response.content))

    async def _read(self, response: httpx.Response) -> None:
        try:
            await self._transport.read(response)
        finally:
            await self._transport.close(response)


def as_headers(values: Mapping[str, str]) -> httpx.Headers:
    """Return headers as they are sent; raise ValueError, without the value, for one that can't be.

    A token that was read from a file ends in a line break.
    """
    for name, value in values.items():
        if isinstance(value, str) and (not value.isprintable() or value != value.strip(" ")):
            raise ValueError(f"{name} has to be one line without spaces around it")
    return httpx.Headers(values, encoding="utf-8")


def matching(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"If-Match": etag}


def decoded(text: bytes) -> Any:
    """Return the JSON of a response; raise NoAnswer if it is cut, or a gateway's own page."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise NoAnswer(f"a response that is not JSON: {error}") from error


def decoded_line(line: bytes, number: int) -> dict[str, Any]:
    """Return the object in a line of a response; raise NoAnswer if there is none."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise NoAnswer(f"line {number} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise NoAnswer(f"line {number} is not a JSON object")
    return value


def as_ours(error: ChatBackendError | httpx.RequestError) -> ChatBackendError:
    """Return an error of this package for one of the connection."""
    if isinstance(error, ChatBackendError):
        return error
    ours = NoAnswer(f"{origin(error)}: {str(error) or type(error).__name__}")
    ours.__cause__ = error
    return cast(ChatBackendError, ours)


def origin(error: httpx.RequestError) -> str:
    """Return which service was not reached; not its path, which has the access token in it."""
    url = error.request.url
    return f"{url.scheme}://{url.netloc.decode('ascii')}"
