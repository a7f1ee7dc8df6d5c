"""Many clients at once, who remember what they asked for and what they were told.

Each posts messages into the chats of one application, now and then creates a
chat and posts into it at once, and sends a third of its requests with an
Idempotency-Key: those it repeats until they are answered, and some of those
that were answered it repeats all the same.
"""

import asyncio
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from tests.fault.rig.requests import Connection, Fate, Reply
from tests.polling import wait_until

CLIENTS = 24
FIRST_CHATS = 4
# Shares of requests.
CHATS, WITH_KEY, REPEATED, TOGETHER = 0.02, 0.33, 0.2, 0.5
# A client's longest pause between two requests. Every second one lasts until all clients send at
# once, so that a batch has many creations although few are sent.
LONGEST_PAUSE_SECONDS = 0.3
# The same while something lasts for long: what was sent before and after is what can be lost.
LONGEST_PAUSE_MEANWHILE_SECONDS = 1.5
RETRY_SECONDS = 0.1
# How long a request with a key is repeated: at most, and when everybody is to stop.
GIVE_UP_SECONDS, GIVE_UP_AT_THE_END_SECONDS = 90, 10
WORDS = ["apple", "Ärger", "straße", "東京", "привет", "مرحبا", "🙂", "niño", "x1", "hello-world"]


@dataclass(slots=True)
class Creation:
    """A chat (without `chat_number`) or a message that somebody asked for."""

    chat_number: int | None
    body: str
    number: int | None = None
    may_exist: bool = False


@dataclass(slots=True)
class Figures:
    """What the clients saw."""

    fates: Counter[Fate] = field(default_factory=Counter)
    longest_pause: float = 0.0
    complaints: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)
    answered_at: float = field(default_factory=time.monotonic)

    def note(self, reply: Reply) -> None:
        """Count a reply in; 201 and 503 are all that a client may ever be answered here."""
        self.fates[reply.fate] += 1
        if reply.fate is Fate.ANSWERED:
            now = time.monotonic()
            self.longest_pause = max(self.longest_pause, now - self.answered_at)
            self.answered_at = now
            return
        self.refusals[reply.error or f"{reply.status} {reply.content.get('detail')}"] += 1
        if reply.status not in (0, 503):
            self.complaints.append(f"{reply.status} {reply.content}")


class Load:
    """A load that runs in a thread from entering to leaving a `with`."""

    def __init__(self, port: int, application: str, seed: int, clients: int = CLIENTS):
        self.application = application
        self.creations: list[Creation] = []
        self.figures = Figures()
        self._port = port
        self._random = random.Random(seed)
        self._clients = clients
        self._bodies = itertools.count(1)
        self._chats: list[int] = []
        self._stopping = False
        self._give_up_at = float("inf")
        self._longest_pause = LONGEST_PAUSE_SECONDS
        self._thread = threading.Thread(target=self._run, name="load")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._give_up_at = time.monotonic() + GIVE_UP_AT_THE_END_SECONDS
        self._stopping = True
        self._thread.join()

    @contextmanager
    def slowed_down(self) -> Iterator[None]:
        """Send a fifth of the requests, while something lasts for long."""
        self._longest_pause = LONGEST_PAUSE_MEANWHILE_SECONDS
        try:
            yield
        finally:
            self._longest_pause = LONGEST_PAUSE_SECONDS

    @property
    def answered(self) -> int:
        return self.figures.fates[Fate.ANSWERED]

    def wait_for_more(self, creations: int, explain: Callable[[], str]) -> None:
        """Wait until more than so many further creations were answered."""
        so_far = self.answered
        wait_until(lambda: self.answered > so_far + creations, 60, explain)

    def wait_until_at_work(self, explain: Callable[[], str]) -> None:
        """Wait until the first chats exist and all clients may have posted into them."""
        self.wait_for_more(FIRST_CHATS + self._clients, explain)

    @property
    def errors(self) -> int:
        """How many requests were not answered with a number."""
        return self.figures.fates[Fate.REFUSED] + self.figures.fates[Fate.UNKNOWN]

    @property
    def is_running(self) -> bool:
        return self._thread.is_alive()

    def _run(self) -> None:
        asyncio.run(self._all_clients())

    async def _all_clients(self) -> None:
        connection = Connection(self._port)
        for _ in range(FIRST_CHATS):
            await self._create(connection, Creation(None, ""), key="")
        await connection.aclose()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(self._client())

    async def _client(self) -> None:
        connection = Connection(self._port)
        choose = self._random
        while not self._stopping:
            await asyncio.sleep(self._next_pause())
            key = f"key-{choose.getrandbits(64):x}" if choose.random() < WITH_KEY else ""
            await self._create(connection, self._next_creation(), key)
        await connection.aclose()

    def _next_pause(self) -> float:
        if self._random.random() < TOGETHER:
            return self._longest_pause - time.monotonic() % self._longest_pause
        return self._random.uniform(0, self._longest_pause)

    def _next_creation(self) -> Creation:
        choose = self._random
        if not self._chats or choose.random() < CHATS:
            return Creation(None, "")
        # The newest chats more often: their first messages are the delicate ones.
        position = min(choose.randrange(len(self._chats)), choose.randrange(len(self._chats)))
        text = " ".join(choose.choices(WORDS, k=choose.randint(1, 12)))
        return Creation(self._chats[-1 - position], f"{text} #{next(self._bodies)}")

    async def _create(self, connection: Connection, creation: Creation, key: str) -> None:
        """Ask once, or with a key until there is an answer."""
        self.creations.append(creation)
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        while True:
            reply = await self._post(connection, creation, key)
            now = time.monotonic()
            if reply.fate is Fate.ANSWERED or not key or now > min(give_up_at, self._give_up_at):
                break
            await asyncio.sleep(RETRY_SECONDS)
        if creation.number is not None and creation.chat_number is None:
            self._chats.append(creation.number)
        if reply.fate is Fate.ANSWERED and key and self._random.random() < REPEATED:
            again = await self._post(connection, creation, key)
            if again.fate is Fate.ANSWERED and "idempotent-replayed" not in again.headers:
                self.figures.complaints.append(f"a repeat is not told: {again.content}")

    async def _post(self, connection: Connection, creation: Creation, key: str) -> Reply:
        path = f"{self.application}/chats"
        fields = {}
        if creation.chat_number is not None:
            path += f"/{creation.chat_number}/messages"
            fields = {"body": creation.body}
        reply = await connection.post(path, fields, key)
        self.figures.note(reply)
        if reply.fate is Fate.ANSWERED:
            number = reply.content["number"]
            if creation.number not in (None, number):
                self.figures.complaints.append(f"{creation.number} was {number} when repeated")
            creation.number = number
        creation.may_exist |= not reply.changed_nothing
        return reply
