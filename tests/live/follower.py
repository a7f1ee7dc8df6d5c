"""What a client keeps of a chat or of an application that it follows, and what it must not see."""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import orjson

from tests.live.event_source import EventSource
from tests.live.event_stream import Event

CURSOR = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)")
# What is kept of the complaints: the first ones tell most.
COMPLAINTS = 20
# A page that was refused tries again by itself.
OPEN_AGAIN_SECONDS = 2.0

Numbers = dict[int, int]


@dataclass
class Figures:
    """What all followers together saw."""

    events: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    resumed: int = 0
    truncated: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    wrong: int = 0
    complaints: list[str] = field(default_factory=list)

    def complain(self, text: str) -> None:
        self.wrong += 1
        if len(self.complaints) < COMPLAINTS:
            self.complaints.append(text)


def cursor(event_id: str) -> tuple[int, int]:
    """Return the number and the change that an id stands for; raises ValueError."""
    found = CURSOR.fullmatch(event_id)
    if found is None:
        raise ValueError(f"no id: {event_id!r}")
    return int(found[1]), int(found[2])


@dataclass(frozen=True, slots=True)
class Received:
    """The content of an event, which followers of the same chat share."""

    chat_number: int
    number: int
    body: str


class Contents:
    """Reads the JSON of events, once for all who receive the same."""

    MOST = 50_000

    def __init__(self) -> None:
        self._known: dict[str, Received] = {}

    def read(self, data: str) -> Received:
        received = self._known.get(data)
        if received is None:
            if len(self._known) == self.MOST:
                self._known.clear()
            item = orjson.loads(data)
            received = Received(item["chat_number"], item["number"], item["body"])
            self._known[data] = received
        return received


class ChatFollower:
    """Follows a chat from its beginning, and holds every event to the contract."""

    def __init__(self, port: int, chat: str, figures: Figures, contents: Contents) -> None:
        self.chat = chat
        self.texts: dict[int, str] = {}
        self._number, self._change = 0, 0
        self._chat_number = int(chat.rpartition("/")[2])
        self._is_ready = False
        self._port, self._figures, self._contents = port, figures, contents
        self._open("?last_event_id=0.0")

    def _open(self, query: str) -> None:
        self.source = EventSource(self._port, f"{self.chat}/messages/stream{query}", self)

    def opened(self, sent_id: str) -> None:
        self._is_ready = False
        self._figures.opened += 1
        self._figures.resumed += bool(sent_id)

    def ended(self, *, truncated: bool) -> None:
        self._figures.truncated += truncated

    def refused(self, status: int) -> None:
        """Open another event source, as a page would, which names the id in its query."""
        self._figures.refused[status] += 1
        query = f"?last_event_id={self._number}.{self._change}"
        asyncio.get_running_loop().call_later(OPEN_AGAIN_SECONDS, self._open, query)

    def received(self, event: Event) -> None:
        self._figures.events[event.type] += 1
        try:
            at = cursor(event.last_event_id)
            self._take(event, at)
        except (ValueError, KeyError, TypeError) as error:
            self._complain(event, repr(error))

    def _take(self, event: Event, at: tuple[int, int]) -> None:
        if not self._is_ready:
            self._is_ready = True
            if event.type != "ready" or at != (self._number, self._change):
                self._complain(event, "not ready where it was")
        elif event.type in ("message.created", "message.updated"):
            self._take_message(event, at)
        else:
            self._complain(event, "unexpected")

    def _take_message(self, event: Event, at: tuple[int, int]) -> None:
        message = self._contents.read(event.data)
        if message.chat_number != self._chat_number:
            self._complain(event, "another chat's")
        if event.type == "message.created":
            is_next = message.number == self._number + 1 and at[1] >= self._change
            follows = is_next and at[0] == message.number
        else:
            follows = message.number <= self._number == at[0] and at[1] > self._change
        if not follows:
            self._complain(event, "not in order")
        self.texts[message.number] = message.body
        self._number, self._change = at

    def _complain(self, event: Event, what: str) -> None:
        where = f"{self.chat} at {self._number}.{self._change}"
        self._figures.complain(f"{where}: {what}: {event}")


class ApplicationFollower:
    """Follows an application, as an inbox does: state and not history.

    Events may have been missed before each `ready`, of which there may be several, so the list
    of chats is read then; which change a chat is at is unknown until the next event names it.
    """

    def __init__(
        self,
        port: int,
        path: str,
        figures: Figures,
        read_chats: Callable[[str], Awaitable[Numbers]],
    ) -> None:
        self.path = path
        self.numbers: Numbers = {}
        self.changes: Numbers = {}
        self._figures, self._read_chats = figures, read_chats
        self._is_ready = False
        self._open = partial(EventSource, port, f"{path}/stream", self)
        self.source = self._open()
        self._reading: asyncio.Task[None] | None = None

    def opened(self, _: str) -> None:
        self._is_ready = False
        self._figures.opened += 1

    def ended(self, *, truncated: bool) -> None:
        self._figures.truncated += truncated

    def refused(self, status: int) -> None:
        """Open another event source, as a page would."""
        self._figures.refused[status] += 1
        asyncio.get_running_loop().call_later(OPEN_AGAIN_SECONDS, self._open_again)

    def _open_again(self) -> None:
        self.source = self._open()

    def received(self, event: Event) -> None:
        self._figures.events[event.type] += 1
        if event.type not in ("ready", "chat.changed"):
            self._figures.complain(f"{self.path}: unexpected: {event}")
        if event.type == "ready":
            self._is_ready = True
            self.changes.clear()
            self._reading = asyncio.create_task(self._read_list())
            return
        if not self._is_ready:
            self._figures.complain(f"{self.path}: not ready: {event}")
        seen = orjson.loads(event.data)
        self.numbers[seen["chat_number"]] = seen["highest_number"]
        self.changes[seen["chat_number"]] = seen["highest_change"]

    async def _read_list(self) -> None:
        """Take over what the list knows, unless an event was faster."""
        listed = await self._read_chats(self.path)
        for chat, number in listed.items():
            self.numbers[chat] = max(number, self.numbers.get(chat, 0))
