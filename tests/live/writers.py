"""Clients who write into chats that others follow: mostly new messages, now and then an edit.

They hold nothing against anybody: what was stored is what followers have to see, and that all
that was answered is stored is what the tests of faults show.
"""

import asyncio
import random
import threading
from collections import Counter
from typing import Any

import httpx

from bench.running_stack import RunningStack
from local_stack.ports import PLAIN_HTTP
from tests.fault.rig.requests import Connection, Fate

WRITERS = 24
# A client's longest pause between two requests.
LONGEST_PAUSE_SECONDS = 0.3
EDITS = 0.15
EDIT_SECONDS = 10
WORDS = ["apple", "Ärger", "東京", "🙂", "two\nlines", "CR\rLF\r\n", "\u2028", "data: x\n\n", '"']


class Writers:
    """A load that runs in a thread from entering to leaving a `with`, once or several times."""

    def __init__(self, stack: RunningStack, chats: list[str], seed: int) -> None:
        self.created: Counter[str] = Counter()
        self.edited: Counter[int] = Counter()
        self._stack, self._chats = stack, chats
        self._random = random.Random(seed)
        self._highest: Counter[str] = Counter()
        self._count = 0

    def __enter__(self) -> "Writers":
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), name="writers")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()

    async def _all(self) -> None:
        async with httpx.AsyncClient(
            base_url=self._stack.crud_url, timeout=EDIT_SECONDS, **PLAIN_HTTP
        ) as editor:
            await asyncio.gather(*(self._write(editor) for _ in range(WRITERS)))

    async def _write(self, editor: httpx.AsyncClient) -> None:
        connection = Connection(self._stack.numbering_port)
        while not self._stopping:
            await asyncio.sleep(self._random.uniform(0, LONGEST_PAUSE_SECONDS))
            chat = self._random.choice(self._chats)
            if self._highest[chat] and self._random.random() < EDITS:
                await self._edit(editor, f"{chat}/messages/{self._some_number(chat)}")
            else:
                await self._create(connection, chat)
        await connection.aclose()

    def _some_number(self, chat: str) -> int:
        """Return one of the chat's numbers, the newest most often."""
        return max(1, self._highest[chat] - int(self._random.expovariate(0.3)))

    def _fields(self) -> dict[str, Any]:
        self._count += 1
        words = self._random.choices(WORDS, k=self._random.randint(1, 8))
        return {"body": f"{' '.join(words)} #{self._count}"}

    async def _create(self, connection: Connection, chat: str) -> None:
        reply = await connection.post(f"{chat}/messages", self._fields())
        self.created[reply.fate.value] += 1
        if reply.fate is Fate.ANSWERED:
            self._highest[chat] = max(self._highest[chat], reply.content["number"])

    async def _edit(self, editor: httpx.AsyncClient, path: str) -> None:
        try:
            answer = await editor.put(path, json=self._fields())
        except httpx.TransportError:
            self.edited[0] += 1
        else:
            self.edited[answer.status_code] += 1
