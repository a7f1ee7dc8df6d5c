"""Filters by time read a range of numbers: they lose nothing, whatever the order of the times."""

import importlib
import itertools
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crud_service.api.lists.list_request import ListRequest, parse_list_request
from crud_service.api.lists.list_rows import fetch_rows
from crud_service.chat.filters import FILTERS
from crud_service.chat.list_queries import MESSAGES, ScanOrder, filtered, list_query
from tests.integration.crud.test_plans import LISTED, PARENT
from tests.integration.crud_rows import Database
from tests.integration.plans import blocks_touched, explain

MIGRATION = importlib.import_module("crud_service.chat.migrations.0016_time_slack")

TOKEN = "t" * 24
START = datetime(2022, 8, 9, 22, tzinfo=UTC)
YEAR_MS = 365 * 24 * 3600 * 1000

# A number and the microseconds of its time; each list is one statement.
Batch = list[tuple[int, int]]


def at(ms: int) -> str:
    return (START + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds")


@pytest.fixture
def chat(database: Database) -> int:
    """The id of an empty chat."""
    row = database.execute(
        """
        WITH a AS (INSERT INTO applications (access_token, name) VALUES (%s, 'x') RETURNING id)
        INSERT INTO chats (application_id, number) SELECT id, 1 FROM a RETURNING id
        """,
        (TOKEN,),
    ).fetchone()
    assert row
    return int(row[0])


def add(database: Database, chat: int, batch: Sequence[tuple[int, int]]) -> None:
    database.execute(
        """
        INSERT INTO messages (chat_id, number, body, created_at)
        SELECT %s, n, 'x', %s::timestamptz + t * interval '1 microsecond'
        FROM unnest(%s::bigint[], %s::bigint[]) AS given (n, t)
        """,
        (chat, START, [n for n, _ in batch], [t for _, t in batch]),
    )
    database.execute(
        """
        UPDATE chats SET message_count = n, highest_number = highest
        FROM (
            SELECT count(*) AS n, coalesce(max(number), 0) AS highest
            FROM messages WHERE chat_id = %s
        ) m
        WHERE chats.id = %s
        """,
        (chat, chat),
    )


def slack(database: Database, chat: int) -> Any:
    ((found,),) = database.execute("SELECT time_slack FROM chats WHERE id = %s", (chat,)).fetchall()
    return found


def listed(query: str) -> tuple[list[int], int]:
    chat = {"access_token": TOKEN, "chat_number": "1"}
    found = fetch_rows(parse_list_request(ListRequest(MESSAGES, chat), query.encode()))
    assert found is not None
    return [row["number"] for row in orjson.loads(found.as_array())], found.total


def batches() -> st.SearchStrategy[list[Batch]]:
    """Numbers in any order, with gaps, whose times mostly rise with them."""
    jitter = st.one_of(st.just(0), st.just(0), st.integers(-30_000, 30_000))
    numbers = st.lists(
        st.tuples(st.integers(1, 60), jitter), max_size=40, unique_by=lambda it: it[0]
    )
    return numbers.flatmap(
        lambda chosen: st.lists(st.integers(0, len(chosen)), max_size=4).map(
            lambda cuts: cut([(n, n * 1000 + jitter) for n, jitter in chosen], sorted(cuts))
        )
    )


def cut(rows: Batch, cuts: list[int]) -> list[Batch]:
    bounds = [0, *cuts, len(rows)]
    return [rows[low:high] for low, high in itertools.pairwise(bounds)]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(batches=batches(), after=st.integers(-40, 100), before=st.integers(-40, 100))
def test_lists_by_time_are_complete(
    database: Database, chat: int, batches: list[Batch], after: int, before: int
) -> None:
    database.execute("DELETE FROM messages WHERE chat_id = %s", (chat,))
    database.execute("UPDATE chats SET time_slack = 0 WHERE id = %s", (chat,))
    for batch in batches:
        add(database, chat, batch)
    rows = sorted(row for batch in batches for row in batch)
    queries = {
        f"created_after={at(after)}": [n for n, t in rows if t // 1000 > after],
        f"created_before={at(before)}": [n for n, t in rows if t // 1000 < before],
    }
    queries["&".join(queries)] = [n for n, t in rows if after < t // 1000 < before]
    for query, expected in queries.items():
        query = query.replace("+", "%2B")
        assert listed(query) == (expected, len(expected))
        assert listed(f"{query}&limit=7&order=desc")[0] == expected[::-1][:7]


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([[(1, 0), (2, 1000)], [(3, 1000), (5, 2000)]], 0),
        ([[(1, 5000), (2, 3000)]], 2),
        ([[(1, 5000)], [(2, 3000)]], 2),
        ([[(1, 5000)], [(2, 4999)]], 1),
        ([[(1, 9000), (2, 7000), (3, 4000)], [(4, 5000), (5, 3000)]], 7),
        # A message that is stored late.
        ([[(1, 1000), (3, 3000)], [(2, 2000)]], 0),
        ([[(1, 1000), (3, 3000)], [(2, 8000)]], 5),
    ],
)
def test_the_slack_is_how_far_times_fall(
    database: Database, chat: int, batches: list[Batch], expected: int
) -> None:
    for batch in batches:
        add(database, chat, batch)
    assert slack(database, chat) == expected


def test_a_time_that_is_changed_by_hand_is_found(database: Database, chat: int) -> None:
    add(database, chat, [(n, n * 1000) for n in range(1, 101)])
    database.execute("UPDATE messages SET body = 'edited' WHERE number = 2")
    assert slack(database, chat) == 0
    database.execute("UPDATE messages SET created_at = %s WHERE number = 40", (START,))
    assert slack(database, chat) is None
    assert listed(f"created_before={at(3)}".replace("+", "%2B")) == ([1, 2, 40], 3)


def test_times_of_any_distance_can_be_stored(database: Database, chat: int) -> None:
    """An import keeps the times that it is given."""
    far = [(n, 5000 * YEAR_MS * 1000 * (n % 2)) for n in range(1, 2000)]
    add(database, chat, far)
    assert slack(database, chat) is None
    assert listed(f"created_after={at(5)}&limit=3".replace("+", "%2B")) == ([1, 3, 5], 1000)


def test_existing_chats_are_measured(database: Database, chat: int) -> None:
    rng = random.Random(1)
    add(database, chat, [(n, rng.randrange(10**6)) for n in range(1, 500)])
    known = slack(database, chat)
    database.execute("UPDATE chats SET time_slack = NULL")
    assert MIGRATION.fill_batch(database.cursor(), 0) == chat
    # The trigger rounds each fall up, as the migration does.
    assert slack(database, chat) == known


@pytest.mark.parametrize("position", [0, 1, 2, 3])
def test_chats_that_are_created_during_the_migration_are_measured(
    database: Database, chat: int, position: int
) -> None:
    with database.transaction(force_rollback=True):
        # No table can be altered while checks of foreign keys are pending.
        database.execute("SET CONSTRAINTS ALL IMMEDIATE")
        database.execute(MIGRATION.DROP_TRIGGERS)
        database.execute(MIGRATION.DROP_COLUMN)
        steps = list(MIGRATION.STEPS)
        for statements in steps[:position]:
            database.execute(statements)
        new = another_chat(database)
        add(database, new, [(1, 9000), (2, 4000)])
        for statements in steps[position:]:
            database.execute(statements)
        last_id: int | None = 0
        while last_id is not None:
            last_id = MIGRATION.fill_batch(database.cursor(), last_id)
        assert slack(database, new) == 5
        assert slack(database, chat) == 0


def test_chats_are_measured_in_batches_of_few_messages(database: Database, chat: int) -> None:
    """A batch locks its chats: a PUT waits for as long as all of their messages take."""
    chats = [chat, *(another_chat(database) for _ in range(5))]
    for one, messages in zip(chats, (0, 6, 4, 11, 3, 0), strict=True):
        add(database, one, [(n, n * 1000) for n in range(1, messages + 1)])
    database.execute("UPDATE chats SET time_slack = NULL")
    measured = []
    last_id = 0
    while (last_id := MIGRATION.fill_batch(database.cursor(), last_id, 10)) is not None:
        measured.append(last_id)
    assert measured == [chats[2], chats[3], chats[5]]
    assert [slack(database, one) for one in chats] == [0] * 6


def another_chat(database: Database) -> int:
    ((found,),) = database.execute(
        """
        INSERT INTO chats (application_id, number)
        SELECT application_id, max(number) + 1 FROM chats GROUP BY application_id RETURNING id
        """
    ).fetchall()
    return int(found)


@pytest.fixture
def long(database: Database, chat: int) -> psycopg.Connection[Any]:
    """A chat of 20,000 messages, a second apart, on 2,000 pages; a sender is rare, another not."""
    database.execute(
        """
        INSERT INTO messages (chat_id, number, body, created_at, sender)
        SELECT %s, n, repeat('x', 700), %s::timestamptz + n * interval '1 second',
            CASE WHEN n %% 4001 = 0 THEN 'rare' WHEN n %% 2 = 1 THEN 'often' END
        FROM generate_series(1, 20000) AS n
        """,
        (chat, START),
    )
    database.execute("UPDATE chats SET message_count = 20000, highest_number = 20000")
    database.execute("VACUUM ANALYZE messages")
    database.execute("SET plan_cache_mode = force_generic_plan")
    return database


@pytest.mark.parametrize("names", [(name,) for name in FILTERS] + [FILTERS])
@pytest.mark.parametrize("backward", [False, True], ids=["upwards", "downwards"])
def test_a_filtered_page_touches_no_more_than_it_shows(
    long: Database, names: tuple[str, ...], *, backward: bool
) -> None:
    moments = {"created_after": at(19_995_000), "created_before": at(19_998_000)}
    if names == ("created_before",):
        moments = {"created_before": at(3_000)}
    values = {**PARENT, **LISTED, "access_token": TOKEN, "sender": "rare", "low": "1", **moments}
    sql = list_query(filtered(MESSAGES, names), ScanOrder(backward=backward))
    touched = blocks_touched(explain(long, sql, values))
    # Some 15 probes for each time, of three or four pages, and a few pages of rows.
    assert touched < 400, touched
