"""The script, batching and seeding against a model, while everything goes wrong."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Coroutine
from typing import Any, cast

import uvicorn
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from uvicorn.server import ServerState

from numbering_service.main import NumberingService
from numbering_service.settings import Settings
from tests.integration.numbering.surroundings import (
    CHATS,
    A,
    Client,
    Proxy,
    Storage,
    Valkey,
    storage,
)
from web.server.protocol import Protocol

UNIQUE = itertools.count(1)
# The chats from 5 on stand for the first four, to which several messages are posted at once.
CHAT = st.integers(1, 8)
KEY = st.sampled_from(["", "", "", "k1", "k2", "k3"])
POSTS = st.lists(st.tuples(CHAT, KEY, st.integers(0, 30)), min_size=1, max_size=40)


class Outcome:
    """The outcome of a request: a status, or None if the client disconnected."""

    def __init__(self, path: str, body: str, key: str) -> None:
        self.path, self.body, self.key = path, body, key
        # Of a keyed bulk always the same, as it is part of its payload.
        self.size = 0 if not path.endswith("/bulk") else 3 if key else 1 + next(UNIQUE) % 6
        self.status: int | None = None
        self.number = 0
        self.replayed = False

    @property
    def bodies(self) -> list[str]:
        """The body of each message."""
        return [f"{self.body}, {position}" for position in range(self.size)] or [self.body]

    @property
    def numbered(self) -> list[tuple[int | None, int]]:
        """The chat and number of each message, or of the chat, if it was answered."""
        chat = chat_of(self.path)
        return [(chat, self.number + position) for position in range(len(self.bodies))]


class Service:
    """The real service behind its HTTP server, in this process, on a real Valkey."""

    def __init__(self, valkey: Valkey) -> None:
        self.valkey = valkey
        self.loop = asyncio.new_event_loop()
        self.valkey.client.flushall()
        self.running = storage(valkey.url)
        self.storage: Storage = self.loop.run_until_complete(self.running.__aenter__())
        self.storage.pause_seconds = 0.02
        self.proxy = Proxy(valkey.port)
        self.run(self.proxy.start())
        self.app = NumberingService(
            Settings.from_env({"REDIS_URL": self.proxy.url, "CRUD_URL": self.storage.url})
        )
        self.lifespan = self.app.lifespan(self.app.api)
        self.run(self.lifespan.__aenter__())
        self.run(self.listen())

    async def listen(self) -> None:
        config = uvicorn.Config(self.app, log_config=None, interface="asgi3", proxy_headers=False)
        config.load()
        assert config.loaded_app is self.app  # in a wrapper the short way would not be found
        state = ServerState()
        self.server = await self.loop.create_server(
            lambda: cast("asyncio.Protocol", Protocol(config, state, {}, self.loop)),
            "127.0.0.1",
            0,
        )
        self.port: int = self.server.sockets[0].getsockname()[1]

    def run(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self.loop.run_until_complete(asyncio.wait_for(coroutine, 40))

    def close(self) -> None:
        self.server.close()
        self.run(self.lifespan.__aexit__(None, None, None))
        self.run(self.running.__aexit__(None, None, None))
        self.run(self.proxy.close())
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.run(asyncio.sleep(0.02))
        self.loop.close()

    async def post(self, outcome: Outcome) -> None:
        """Send a request on its own connection, which is closed if the call is cancelled."""
        async with Client(self.port) as client:
            if outcome.size:
                reply = await client.post_bulk(outcome.path, outcome.bodies, outcome.key)
            else:
                reply = await client.post(outcome.path, outcome.body, outcome.key)
        outcome.status = reply.status
        if reply.status == 201:
            outcome.number = reply.number
            outcome.replayed = reply.headers.get("idempotent-replayed") == "true"


class Machine(RuleBasedStateMachine):
    """Requests and faults; in the end the stream agrees exactly with the answers."""

    valkey: Valkey

    @initialize(chats=st.integers(1, 4))
    def start(self, chats: int) -> None:
        self.service = Service(self.valkey)
        self.outcomes: list[Outcome] = []
        self.restarts = 0
        self.service.run(self.send([(CHATS, "")] * chats, []))

    async def send(self, posts: list[tuple[str, str]], leave: list[int]) -> None:
        """Send requests concurrently; some clients disconnect after some milliseconds."""
        outcomes = [Outcome(path, f"body {next(UNIQUE)}", key) for path, key in posts]
        for outcome in outcomes:
            if outcome.path == CHATS or outcome.key:
                outcome.body = f"shared {outcome.key}"
        tasks = [asyncio.create_task(self.service.post(outcome)) for outcome in outcomes]
        self.outcomes += outcomes
        for task, milliseconds in zip(tasks, leave, strict=False):
            if milliseconds:
                asyncio.get_running_loop().call_later(milliseconds / 1000, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)

    @rule(posts=POSTS)
    def post(self, posts: list[tuple[int, str, int]]) -> None:
        self.service.run(self.send([(path_of(chat), key) for chat, key, _ in posts], []))

    @rule(posts=POSTS)
    def post_and_leave(self, posts: list[tuple[int, str, int]]) -> None:
        paths = [(path_of(chat), key) for chat, key, _ in posts]
        self.service.run(self.send(paths, [milliseconds for _, _, milliseconds in posts]))

    @rule(number=st.integers(1, 5), key=KEY)
    def create_chats(self, number: int, key: str) -> None:
        self.service.run(self.send([(CHATS, key)] * number + [(path_of(2), "")], []))

    @rule(posts=POSTS, seed=st.integers(0, 2**16))
    def post_while_sequences_vanish(self, posts: list[tuple[int, str, int]], seed: int) -> None:
        async def vanish() -> None:
            chance = random.Random(seed)
            for _ in range(10):
                names = await self.service.storage.redis.keys("sequence:*")
                await self.service.storage.redis.delete(
                    b"-", *(n for n in names if chance.random() < 0.5)
                )
                await asyncio.sleep(chance.random() / 100)

        async def later(milliseconds: int, path: tuple[str, str]) -> None:
            await asyncio.sleep(milliseconds / 1000)
            await self.send([path], [])

        async def both() -> None:
            paths = [(path_of(chat), key) for chat, key, _ in posts * 2]
            await asyncio.gather(vanish(), *(later(n, path) for n, path in enumerate(paths)))

        self.service.run(both())

    @rule(posts=POSTS, milliseconds=st.integers(0, 8))
    def post_while_valkey_is_killed(
        self, posts: list[tuple[int, str, int]], milliseconds: int
    ) -> None:
        if self.restarts == 2:
            return
        self.restarts += 1

        async def kill() -> None:
            await asyncio.sleep(milliseconds / 1000)
            await asyncio.to_thread(self.valkey.restart)

        async def both() -> None:
            paths = [(path_of(chat), key) for chat, key, _ in posts]
            await asyncio.gather(kill(), self.send(paths, []))

        self.service.run(both())

    @rule(posts=POSTS, replies=st.integers(1, 3))
    def post_while_replies_are_lost(self, posts: list[tuple[int, str, int]], replies: int) -> None:
        self.service.proxy.replies_to_lose = replies
        self.service.run(self.send([(path_of(chat), key) for chat, key, _ in posts], []))

    @rule()
    def lose_all_sequences(self) -> None:
        names = self.valkey.client.keys("sequence:*")
        self.valkey.client.delete("-", *names)

    @invariant()
    def nobody_was_refused_without_reason(self) -> None:
        for outcome in getattr(self, "outcomes", []):
            assert outcome.status in {None, 201, 404, 422}, vars(outcome)

    def teardown(self) -> None:
        if hasattr(self, "service"):
            self.service.close()
            self.check()

    def check(self) -> None:
        store = self.service.storage
        assert not store.repeated
        for (_token, chat), of_sequence in store.stored.items():
            assert sorted(of_sequence) == list(range(1, len(of_sequence) + 1)), chat
        answered = [outcome for outcome in self.outcomes if outcome.status == 201]
        for outcome in answered:
            for (chat, number), body in zip(outcome.numbered, outcome.bodies, strict=True):
                assert store.stored[A, chat][number] == ("" if outcome.path == CHATS else body)
        fresh = Counter(
            numbered for each in answered if not each.replayed for numbered in each.numbered
        )
        assert all(times == 1 for times in fresh.values())
        self.check_bodies(store)
        self.check_bulks(store)
        self.check_keys(answered)

    def check_bodies(self, store: Storage) -> None:
        """Check that each request created at most one entry, and that there are no others."""
        sent = {body for outcome in self.outcomes for body in outcome.bodies}
        bodies = Counter(entry.body for entry in store.entries if not entry.is_chat)
        assert set(bodies) <= sent
        assert all(times == 1 for body, times in bodies.items() if body.startswith("body"))
        refused = {
            body
            for each in self.outcomes
            if each.status in {404, 422} and not each.key
            for body in each.bodies
        }
        assert not refused & set(bodies)

    def check_bulks(self, store: Storage) -> None:
        """Check that each bulk has consecutive numbers in its order, or none at all."""
        numbers = {entry.body: entry.number for entry in store.entries if not entry.is_chat}
        for outcome in self.outcomes:
            if outcome.size and not outcome.key:
                found = [numbers.get(body, 0) for body in outcome.bodies]
                assert not any(found) or found == list(range(found[0], found[0] + outcome.size))

    def check_keys(self, answered: list[Outcome]) -> None:
        """Check that each key has one number per collection."""
        numbers: dict[tuple[int | None, str], set[int]] = {}
        for outcome in answered:
            if outcome.key:
                numbers.setdefault((chat_of(outcome.path), outcome.key), set()).add(outcome.number)
        assert all(len(each) == 1 for each in numbers.values())


def path_of(chat: int) -> str:
    return f"{CHATS}/{chat}/messages" if chat <= 4 else f"{CHATS}/{chat - 4}/messages/bulk"


def chat_of(path: str) -> int | None:
    return None if path == CHATS else int(path.split("/")[4])


def test_whatever_goes_wrong_numbers_are_exact_and_answers_hold(valkey: Valkey) -> None:
    Machine.valkey = valkey
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=12,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
