"""One way to call every client, so that the same tests try all of them.

    caller.call((token, 1), "create_message", "Hello", sender="Ada")
    caller.call((token, 1), "follow", after=0, take=3)

The first argument names the object: () the client, (token,) an application, (token, number) a
chat. Names are Python's; the JavaScript client gets them in camel case. Lists and streams come
as lists of at most `take` items, events and versions as dictionaries. Errors come as `Failed`.
"""

import asyncio
import itertools
import json
import re
import subprocess
from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import aclosing
from dataclasses import asdict, is_dataclass
from inspect import isasyncgen
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from chat_backend_client import (
    AsyncClient,
    AsyncPages,
    ChatBackendError,
    ChatChanged,
    Client,
    Pages,
    Ready,
    Retries,
    Versioned,
)
from tests.clients.packages import compiled_typescript

DRIVER = Path(__file__).with_name("driver.mjs")
EVENT_TYPES = {Ready: "ready", ChatChanged: "chat.changed"}
ERROR_FIELDS = (
    *("status", "code", "detail", "errors", "request_id", "retry_after"),
    *("attempts", "last_event_id"),
)

# What belongs to the client and not to the API has JavaScript's style.
OPTIONS = {
    "idempotency_key": "idempotencyKey",
    "if_match": "ifMatch",
    "last_event_id": "lastEventId",
    "page_size": "pageSize",
    "until_stored": "untilStored",
}

Target = tuple[()] | tuple[str] | tuple[str, int]


class Failed(Exception):
    """An error of a client: the name of its class, and its fields by Python's names."""

    def __init__(self, kind: str, fields: dict[str, Any]) -> None:
        super().__init__(f"{kind}: {fields}")
        self.kind, self.fields = kind, fields


class Caller(Protocol):
    def call(
        self, target: Target, method: str, *args: Any, take: int | None = None, **options: Any
    ) -> Any: ...
    def close(self) -> None: ...


class Addresses(NamedTuple):
    crud_url: str
    numbering_url: str


ADMIN_TOKEN = "the-admin-clé-☃"


class BlockingCaller:
    def __init__(self, addresses: Addresses, retry_seconds: float) -> None:
        retries = Retries(seconds=retry_seconds)
        self._client = Client(*addresses, admin_token=ADMIN_TOKEN, retries=retries)

    def call(
        self, target: Target, method: str, *args: Any, take: int | None = None, **options: Any
    ) -> Any:
        try:
            result = getattr(find(self._client, target), method)(*args, **options)
            if isinstance(result, Pages):
                result = iter(result)
            return plain(taken(result, take) if isinstance(result, Iterable) else result)
        except ChatBackendError as error:
            raise as_failed(error) from error

    def close(self) -> None:
        self._client.close()


class AsyncioCaller:
    def __init__(self, addresses: Addresses, retry_seconds: float) -> None:
        self._loop = asyncio.Runner()
        retries = Retries(seconds=retry_seconds)
        self._client = AsyncClient(*addresses, admin_token=ADMIN_TOKEN, retries=retries)

    def call(
        self, target: Target, method: str, *args: Any, take: int | None = None, **options: Any
    ) -> Any:
        result = getattr(find(self._client, target), method)(*args, **options)
        try:
            return plain(self._loop.run(gathered(result, take)))
        except ChatBackendError as error:
            raise as_failed(error) from error

    def close(self) -> None:
        self._loop.run(self._client.aclose())
        self._loop.close()


class NodeCaller:
    """The JavaScript client, in a Node.js program that answers each line with a line."""

    def __init__(self, addresses: Addresses, retry_seconds: float) -> None:
        module = compiled_typescript()
        self._process = subprocess.Popen(
            ["node", DRIVER, module, *addresses, ADMIN_TOKEN, str(retry_seconds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def call(
        self, target: Target, method: str, *args: Any, take: int | None = None, **options: Any
    ) -> Any:
        options = {OPTIONS.get(name, name): value for name, value in options.items()}
        task = {"target": target, "method": camel(method), "args": [*args], "take": take}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**task, "options": options}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "kind" in answer:
            raise Failed(answer["kind"], {snake(name): it for name, it in answer["fields"].items()})
        return answer.get("result")

    def close(self) -> None:
        self._process.communicate(timeout=60)


CALLERS: dict[str, Callable[[Addresses, float], Caller]] = {
    "python": BlockingCaller,
    "asyncio": AsyncioCaller,
    "node": NodeCaller,
}


def find(client: Any, target: Target) -> Any:
    """Return the object that a target names."""
    if not target:
        return client
    application = client.application(target[0])
    return application if len(target) == 1 else application.chat(target[1])


def taken(items: Iterable[Any], take: int | None) -> Any:
    """Return the first items of a list or stream; anything else unchanged."""
    if isinstance(items, dict | tuple):
        return items
    return [*itertools.islice(items, take)]


async def gathered(result: Any, take: int | None) -> Any:
    """Return the first items of a list or stream, or what a coroutine returns."""
    if isinstance(result, AsyncPages):
        result = result.items()
    if not isasyncgen(result):
        return await result
    async with aclosing(result):
        return [item async for item in first(result, take)]


async def first(items: AsyncIterable[Any], take: int | None) -> AsyncIterable[Any]:
    count = 0
    async for item in items:
        yield item
        count += 1
        if count == take:
            return


def plain(value: Any) -> Any:
    """Return what JSON would make of a result."""
    if isinstance(value, Versioned):
        return {"value": value.value, "etag": value.etag}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        kind = EVENT_TYPES.get(type(value))
        return asdict(value) | ({"type": kind} if kind else {})
    return value


def as_failed(error: ChatBackendError) -> Failed:
    fields = {name: getattr(error, name) for name in ERROR_FIELDS if hasattr(error, name)}
    return Failed(type(error).__name__, {"message": str(error), **fields})


def camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", name)
