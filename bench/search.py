"""Searches over HTTP on both backends: how late, and whether any hit is missed or invented."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import httpx

from bench.dataset import APPLICATION_TOKEN
from bench.results import say
from bench.scenario import Run
from bench.search_data import LIMIT, Chat, prepare, read_chats
from bench.stack import BenchStack
from bench.tools import BenchError, Load, Request, load

CLIENTS = 8
P99_MS = {"elasticsearch": 25, "postgresql": 60}
LETTERS = (1, 2, 3, 8)
LATIN = "abcdefghijklmnopqrstuvwxyz"
# A short part of Latin letters occurs in every chat; one of these in none.
GEORGIAN = "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ"
TRIES = 50
WARM_UPS = 5


@dataclass(frozen=True, slots=True)
class Query:
    """A keyword in a chat."""

    chat: Chat
    keyword: str

    def path(self, limit: int | None = None) -> str:
        """Where it is asked, with the usual limit if none is given."""
        base = f"/applications/{APPLICATION_TOKEN}/chats/{self.chat.number}/messages/search"
        return f"{base}?keyword={quote(self.keyword)}" + (f"&limit={limit}" if limit else "")


Kinds = dict[tuple[int, str], list[Query]]


def search(run: Run) -> None:
    """The whole scenario."""
    with BenchStack(prepare(run), with_elasticsearch=True) as stack:
        run.yardstick(stack, "search")
        kinds = choose(run, list(read_chats(run, stack)))
        try:
            measure(run, stack, "elasticsearch", kinds)
        except BenchError as error:
            reason = stack.why_no_elasticsearch or str(error)
            run.results.skip(f"searches in Elasticsearch: {reason}")
        measure(run, stack, "postgresql", kinds, ELASTICSEARCH_URL="")
    run.check_failures()


def choose(run: Run, chats: Sequence[Chat]) -> Kinds:
    """Keywords of each length, with hits and without; every second one in the longest chat."""
    rng = random.Random(5)
    pick: dict[str, Callable[[random.Random, Chat, int], str]] = {"hits": a_hit, "none": a_miss}
    kinds: Kinds = {}
    for letters in LETTERS:
        for kind, find in pick.items():
            where = [chats[0] if i % 2 else rng.choice(chats) for i in range(run.sizes.keywords)]
            kinds[letters, kind] = [Query(chat, find(rng, chat, letters)) for chat in where]
    return kinds


def a_hit(rng: random.Random, chat: Chat, letters: int) -> str:
    """A piece of a word of the chat."""
    while True:
        words = [word for word in rng.choice(chat.rows)[1].split() if len(word) >= letters]
        if words:
            word = rng.choice(words)
            start = rng.randint(0, len(word) - letters)
            return word[start : start + letters]


def a_miss(rng: random.Random, chat: Chat, letters: int) -> str:
    """A part that no message of the chat holds; of Latin letters where there is such a one."""
    for alphabet in (LATIN, GEORGIAN):
        for _ in range(TRIES if letters > 2 else 1):
            keyword = "".join(rng.choices(alphabet, k=letters))
            if not chat.holds(keyword):
                return keyword
    raise BenchError(f"every part of {letters} letters is found")


def measure(run: Run, stack: BenchStack, backend: str, kinds: Kinds, **environment: str) -> None:
    """Latencies of each kind and of all of them mixed, and the check of a sample."""
    with stack.during(stack.run("crud", **environment)):
        mixed = [query for queries in zip(*kinds.values(), strict=True) for query in queries]
        timing = Timing(run, stack, backend)
        timing.warm_up(mixed)
        for outcome in ("hits", "none"):
            points = []
            for letters in LETTERS:
                name = f"{letters} letter{'s' if letters > 1 else ''}, {outcome}"
                points.append((letters, timing.take(name, kinds[letters, outcome])))
            run.results.draw("search", f"{backend}, {outcome}", points)
        timing.take("all mixed", mixed)
        name = f"{backend}: searches that the other one answered"
        run.results.add(name, timing.strayed, "", at_most=0)
        check(run, stack, backend, kinds)


@dataclass
class Timing:
    """Loads of searches on one backend."""

    run: Run
    stack: BenchStack
    backend: str
    strayed: int = 0

    def warm_up(self, queries: Sequence[Query]) -> None:
        """Searches that are not measured: Java compiles what runs often, caches fill.

        Raises unless the backend answers in the end: for a slow one the other stands in.
        """
        for _ in range(WARM_UPS):
            seen = self.load(queries, self.run.sizes.search_warm_up)
            if seen.strayed == 0:
                return
        raise BenchError(f"{seen.strayed} of {seen.requests} searches were answered by the other")

    def take(self, name: str, queries: Sequence[Query]) -> float:
        """One load; returns its p99."""
        seen = self.load(queries, self.run.sizes.seconds)
        name = f"{self.backend}, {name}"
        add = self.run.results.add
        add(f"{name}: rate", seen.rate, "/s")
        add(f"{name}: p50", seen.p50_ms, "ms")
        add(f"{name}: p99", seen.p99_ms, "ms", at_most=P99_MS[self.backend])
        self.run.results.count_failures(name, seen)
        self.strayed += seen.strayed
        return seen.p99_ms

    def load(self, queries: Sequence[Query], seconds: int) -> Load:
        requests = [Request(query.path()) for query in queries]
        url = self.stack.crud_url
        return load(url, requests, clients=CLIENTS, seconds=seconds, backend=self.backend)


def check(run: Run, stack: BenchStack, backend: str, kinds: Kinds) -> None:
    """Compare the answers to a sample with what plain Python finds in the same rows."""
    wrong = asked = 0
    with httpx.Client(base_url=stack.crud_url, timeout=30, trust_env=False) as client:
        for queries in kinds.values():
            for query in queries[: run.sizes.checked_keywords]:
                asked += 1
                wrong += not is_right(client, backend, query)
    run.results.add(f"{backend}: wrong answers of {asked}", wrong, "", at_most=0)


def is_right(client: httpx.Client, backend: str, query: Query) -> bool:
    """Whether the first hits are those that they should be, in their order."""
    response = client.get(query.path(LIMIT)).raise_for_status()
    found = [message["number"] for message in response.json()]
    expected = query.chat.find(query.keyword)[:LIMIT]
    answered_by = response.headers["X-Search-Backend"]
    if found == expected and answered_by == backend:
        return True
    say(f"   WRONG: {query.keyword!r} in chat {query.chat.number}, answered by {answered_by}")
    missed, invented = len(set(expected) - set(found)), len(set(found) - set(expected))
    say(f"   {missed} missed, {invented} invented, {len(expected)} expected")
    return False
