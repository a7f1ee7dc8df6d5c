"""Any filtered search, on any page, finds what plain Python finds, on both backends."""

import random
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.search.search_stores import SearchStores, items
from tests.search_oracle import find

START = datetime(2022, 8, 9, 22, tzinfo=UTC)
COUNT = 1800
MOST_PAGES = 12
# How the times of a chat's messages follow one another.
RISING, STEPPING_BACK, SHUFFLED = 1, 2, 3
SENDERS = ["ann", "Ann", "bob", "rare", None, None]
WORDS = ["hi", "this", "hiking", "Café", "straße", "x1", "東京", "number"]
KEYWORDS = ["hi", "h", "cafe", "hi this", "京", "numb strasse", "x1 hi number", "nowhere"]


class Message(NamedTuple):
    number: int
    body: str
    sender: str | None
    microseconds: int

    @property
    def shown_ms(self) -> int:
        return self.microseconds // 1000


class Search(NamedTuple):
    chat: int
    keyword: str
    sort: str
    limit: int
    sender: str | None
    after_ms: int | None
    before_ms: int | None

    @property
    def filters(self) -> dict[str, str]:
        times = {"created_after": self.after_ms, "created_before": self.before_ms}
        filters = {name: at(ms) for name, ms in times.items() if ms is not None}
        return filters if self.sender is None else {"sender": self.sender, **filters}

    def passes(self, message: Message) -> bool:
        return (
            (self.sender is None or message.sender == self.sender)
            and (self.after_ms is None or message.shown_ms > self.after_ms)
            and (self.before_ms is None or message.shown_ms < self.before_ms)
        )


def at(ms: int) -> str:
    return (START + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")


def searches() -> st.SearchStrategy[Search]:
    """Times are drawn around those of the messages, about one a millisecond."""
    times = st.none() | st.integers(-5, COUNT + 5)
    return st.builds(
        Search,
        chat=st.sampled_from([RISING, STEPPING_BACK, SHUFFLED]),
        keyword=st.sampled_from(KEYWORDS),
        sort=st.sampled_from(["relevance", "number", "-number"]),
        limit=st.sampled_from([1, 7, 100, 1000]),
        sender=st.sampled_from([None, *SENDERS[:4], "nobody"]),
        after_ms=times,
        before_ms=times,
    )


def messages_of(chat: int) -> list[Message]:
    rng = random.Random(chat)
    times = [number * 1000 + rng.randint(0, 999) for number in range(COUNT)]
    if chat == STEPPING_BACK:
        for step in (400, 900, 901, 1500):
            times[step:] = [time - 100_000 for time in times[step:]]
    if chat == SHUFFLED:
        rng.shuffle(times)
    return [
        Message(
            number,
            " ".join(rng.choices(WORDS, k=rng.randint(1, 4))),
            "rare" if number % 601 == 0 else rng.choice(["ann", "Ann", "bob", None, None]),
            microseconds,
        )
        for number, microseconds in enumerate(times, 1)
    ]


def add(stores: SearchStores, chat: int, messages: list[Message]) -> None:
    with stores.database.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO messages (chat_id, number, body, sender, created_at)"
            " VALUES (%s, %s, %s, %s, %s::timestamptz + %s * interval '1 microsecond')",
            [
                (stores.chat_id(chat), m.number, m.body, m.sender, START, m.microseconds)
                for m in messages
            ],
        )


class Searched:
    """The chats and their messages, on one backend; its short repr is for hypothesis."""

    def __init__(self, stores: SearchStores, backend: str) -> None:
        self.stores = stores
        self.backend = backend
        self.chats = {chat: messages_of(chat) for chat in (RISING, STEPPING_BACK, SHUFFLED)}
        for chat, messages in self.chats.items():
            add(stores, chat, messages)
        stores.index_all()
        assert stores.count("search_blocks") > 0

    def __repr__(self) -> str:
        return self.backend

    def every_page(self, search: Search) -> list[int]:
        """Return the numbers of what is found on the first pages."""
        found: list[int] = []
        cursor = None
        for _ in range(MOST_PAGES):
            options = {"sort": search.sort, "limit": search.limit, "filters": search.filters}
            page = self.stores.search(search.keyword, search.chat, cursor=cursor, **options)
            assert page.backend == self.backend
            found += [item["number"] for item in items(page)]
            cursor = page.next_cursor
            if cursor is None:
                break
        return found


@pytest.fixture
def searched(any_backend: SearchStores, backend: str) -> Searched:
    return Searched(any_backend, backend)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(search=searches())
def test_no_filter_loses_or_adds_a_match(searched: Searched, search: Search) -> None:
    passing = [(m.number, m.body) for m in searched.chats[search.chat] if search.passes(m)]
    expected = find(search.keyword, passing, search.sort)
    assert searched.every_page(search) == expected[: MOST_PAGES * search.limit]
