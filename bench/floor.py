"""The floor under crud_service: its statements in a bare callable, and nothing else.

`python -m bench.floor` serves the GETs of an application, a message and a page
of messages on CRUD_PORT: the same SQL, gathered and on threads alike, the same
connections to PostgreSQL, the same HTTP server with the same settings. No
checks, no ids, no log, hardly a header.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")

from contract.paths import MAX_NUMBER
from crud_service import settings
from crud_service.chat.list_queries import MESSAGES, ScanOrder, list_query
from crud_service.chat.reading import APPLICATION, MESSAGE
from crud_service.reads.connection import ReadConnection
from crud_service.reads.gathered_reads import GatheredReads
from crud_service.server.pools import REQUESTS
from crud_service.stores.database import fetch_one
from web.problems import Problem
from web.server.request import Request
from web.server.serving import serve

PAGE = list_query(MESSAGES, ScanOrder())


class Pending:
    """A GET that waits for its row."""

    def __init__(self, request: Request, *key: str) -> None:
        self.request = request
        self.key = key

    def settle(self, found: bytes | Problem | None) -> None:
        answer(self.request, found if isinstance(found, bytes) else None)


class Floor:
    """What answers requests, as `web.server` runs it."""

    def __init__(self) -> None:
        self._applications = GatheredReads(APPLICATION, ReadConnection())
        self._messages = GatheredReads(MESSAGE, ReadConnection())
        self._threads = ThreadPoolExecutor(REQUESTS.threads)

    def handle(self, request: Request) -> bool:
        words = request.path.strip("/").split("/")
        if words[0] == "health":
            answer(request, b"{}")
        elif len(words) == 2:
            self._applications.find(Pending(request, words[1]))
        elif len(words) == 6:
            self._messages.find(Pending(request, words[1], words[3], words[5]))
        else:
            return False
        return True

    async def respond(self, request: Request, addresses: object) -> None:
        """Answer with a page of messages, found in a thread."""
        words = request.path.strip("/").split("/")
        loop = asyncio.get_running_loop()
        asked = dict(parse_qsl(request.query.decode()))
        answer(request, await loop.run_in_executor(self._threads, page, words[1], words[3], asked))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        # What uvicorn expects of an application that has nothing to start or to end.
        raise NotImplementedError("nothing to start")


def answer(request: Request, body: bytes | None) -> None:
    head = b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body or b"")
    request.answer(404 if body is None else 200, head, body or b"")


def page(token: str, chat: str, asked: dict[str, str]) -> bytes:
    """A page of messages."""
    values = {"access_token": token, "chat_number": chat, "limit": int(asked["limit"])}
    bounds = {"low": str(int(asked["after"]) + 1), "high": str(MAX_NUMBER)}
    row = fetch_one(PAGE, {**values, **bounds})
    return b"[%s]" % row[3] if row else b""


if __name__ == "__main__":
    serve("bench.floor:Floor", settings.HOST, settings.CRUD_PORT)
