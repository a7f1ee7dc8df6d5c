"""Thousands of followers in one process, each of which behaves as a browser's EventSource.

    python -m tests.live.swarm    its plan is in the environment: see `Plan`

Answers each line of its input with one line of JSON: `look` with what the followers saw so far,
`compare` with how many of them are not where the table is. Some of them lose their connection
now and then without any fault, and some connect through a link that a test can cut.
"""

import asyncio
import json
import os
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import httpx
import psycopg
import uvloop

from local_stack.ports import PLAIN_HTTP
from tests.line_program import LineProgram
from tests.live.follower import ApplicationFollower, ChatFollower, Contents, Figures, Numbers
from tests.polling import eventually

VARIABLE = "PLAN_OF_THE_SWARM"
# Of the followers: those who follow an application, go through the link, come and go.
APPLICATION_EVERY, LINK_EVERY, DROP_EVERY = 100, 8, 10
CONNECTED_AT_ONCE = 200
DROP_EVERY_SECONDS = 0.25
READ_AGAIN_SECONDS = 1.0
TEXTS = """
SELECT a.access_token, c.number, m.number, m.body FROM messages m
JOIN chats c ON c.id = m.chat_id JOIN applications a ON a.id = c.application_id
"""
STATES = """
SELECT a.access_token, c.number, c.highest_number, c.changes FROM chats c
JOIN applications a ON a.id = c.application_id
"""


@dataclass
class Plan:
    """Who follows what, and how."""

    port: int
    port_of_link: int
    database_url: str
    followers: int
    seed: int
    # Paths of chats, by paths of their applications.
    chats: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Table:
    """What the followers are compared with."""

    texts: dict[str, dict[int, str]] = field(default_factory=dict)
    numbers: dict[str, Numbers] = field(default_factory=dict)
    changes: dict[str, Numbers] = field(default_factory=dict)

    @classmethod
    def read(cls, url: str) -> Self:
        """Read all of it in one snapshot."""
        table = cls()
        with psycopg.connect(url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            for token, chat, number, body in connection.execute(TEXTS):
                path = f"/applications/{token}/chats/{chat}"
                table.texts.setdefault(path, {})[number] = body
            for token, chat, number, change in connection.execute(STATES):
                table.numbers.setdefault(f"/applications/{token}", {})[chat] = number
                table.changes.setdefault(f"/applications/{token}", {})[chat] = change
        return table


class Followers:
    """All of them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.figures = Figures()
        self.chats: list[ChatFollower] = []
        self.applications: list[ApplicationFollower] = []
        self._contents = Contents()
        self._client = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{plan.port}", timeout=10, **PLAIN_HTTP
        )

    async def connect(self) -> None:
        """Create them all, some at a time."""
        chats = [chat for each in self.plan.chats.values() for chat in each]
        applications = list(self.plan.chats)
        for position in range(self.plan.followers):
            port = self.plan.port if position % LINK_EVERY else self.plan.port_of_link
            if position % APPLICATION_EVERY:
                chat = chats[position % len(chats)]
                self.chats.append(ChatFollower(port, chat, self.figures, self._contents))
            else:
                path = applications[position // APPLICATION_EVERY % len(applications)]
                follower = ApplicationFollower(port, path, self.figures, self.read_chats)
                self.applications.append(follower)
            if position % CONNECTED_AT_ONCE == 0:
                await asyncio.sleep(0.1)

    async def come_and_go(self) -> None:
        """Drop one connection after the other, of some of the followers."""
        while self.figures.events["ready"] < self.plan.followers:
            await asyncio.sleep(DROP_EVERY_SECONDS)
        choose = random.Random(self.plan.seed)
        while True:
            await asyncio.sleep(choose.uniform(0, 2 * DROP_EVERY_SECONDS))
            choose.choice(self.chats[::DROP_EVERY]).source.drop()

    async def read_chats(self, path: str) -> Numbers:
        """Return the highest numbers of an application's chats, as its list has them."""
        while True:
            try:
                answer = await self._client.get(f"{path}/chats")
                if answer.status_code == 200:
                    return {chat["number"]: chat["message_count"] for chat in answer.json()}
            except httpx.TransportError:
                pass
            await asyncio.sleep(READ_AGAIN_SECONDS)

    def look(self) -> dict[str, Any]:
        """Return what they saw so far."""
        everybody: Sequence[ChatFollower | ApplicationFollower] = [*self.chats, *self.applications]
        is_open = [each.source.is_open for each in everybody]
        ready = self.figures.events["ready"]
        return {**vars(self.figures), "ready": ready, "open": sum(is_open)}

    async def compare(self) -> dict[str, Any]:
        """Return how many differ from the table, with one of them."""
        table = await asyncio.to_thread(Table.read, self.plan.database_url)
        differ = [each for each in self.chats if each.texts != table.texts.get(each.chat, {})]
        differing = [each for each in self.applications if not is_equal(each, table)]
        texts = {each.chat: table.texts.get(each.chat, {}) for each in self.chats}
        gaps = [chat for chat, seen in texts.items() if sorted(seen) != [*range(1, len(seen) + 1)]]
        example = [describe(each, texts[each.chat]) for each in differ[:1]]
        example += [f"{each.path}: {each.numbers} {each.changes}" for each in differing[:1]]
        differences = len(differ) + len(differing)
        return {"differ": differences, "gaps": gaps, "example": " ".join(example)}


def is_equal(follower: ApplicationFollower, table: Table) -> bool:
    """Whether a follower of an application knows of every chat where it is."""
    changes = table.changes.get(follower.path, {})
    return follower.numbers == table.numbers.get(follower.path, {}) and all(
        changes[chat] == change for chat, change in follower.changes.items()
    )


def describe(follower: ChatFollower, texts: dict[int, str]) -> str:
    """Return where a follower differs from the table."""
    missing = sorted(texts.keys() - follower.texts.keys())
    other = [number for number, text in follower.texts.items() if texts.get(number) != text]
    is_open = "open" if follower.source.is_open else "closed"
    return f"{follower.chat} ({is_open}): missing {missing[:5]}, other texts {other[:5]}"


async def serve(plan: Plan) -> None:
    """Follow, and answer questions until the standard input ends."""
    followers = Followers(plan)
    await followers.connect()
    dropping = asyncio.create_task(followers.come_and_go())
    while question := await asyncio.to_thread(sys.stdin.readline):
        answer = await followers.compare() if question == "compare\n" else followers.look()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    dropping.cancel()


class Swarm(LineProgram):
    """The program, as a test uses it."""

    def __init__(self, plan: Plan) -> None:
        super().__init__("tests.live.swarm", {VARIABLE: json.dumps(asdict(plan))})
        self.plan = plan

    def look(self) -> dict[str, Any]:
        seen: dict[str, Any] = self.answer_to("look")
        return seen

    def wait_until_open(self, seconds: float) -> None:
        """Wait until every follower is connected."""
        followers = self.plan.followers
        seen = eventually(self.look, lambda it: bool(it["ready"] >= followers), seconds, pause=0.1)
        assert seen["ready"] >= followers, seen

    def wait_until_back(self, seconds: float) -> None:
        """Wait until hardly any follower is without a connection; some come and go."""
        most = 0.95 * self.plan.followers
        seen = eventually(self.look, lambda it: bool(it["open"] > most), seconds, pause=0.1)
        assert seen["open"] > most, seen

    def wait_until_equal(self, seconds: float) -> None:
        """Wait until every follower has seen what the table holds."""
        seen = eventually(lambda: self.answer_to("compare"), lambda it: it["differ"] == 0, seconds)
        assert (seen["differ"], seen["gaps"]) == (0, []), seen


if __name__ == "__main__":
    uvloop.run(serve(Plan(**json.loads(os.environ[VARIABLE]))))
