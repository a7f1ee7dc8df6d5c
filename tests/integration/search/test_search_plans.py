"""By which indexes PostgreSQL finds the blocks of a search, and what leaves the queue."""

import psycopg
import pytest

from crud_service.postgresql import INDEXER, REQUESTS
from crud_service.search.feed import queue
from crud_service.search.feed.bulk import Outcome
from crud_service.search.query.plan import Plan
from crud_service.search.query.query_postgresql import find_hits
from crud_service.search.text.folding import split_parts
from tests.integration.search.search_stores import SearchStores
from tests.integration.search.test_search import bodies

# How often this transaction has read the table as a whole, its blocks by their numbers, by grams.
SCANS = """
SELECT pg_stat_get_xact_numscans('search_blocks'::regclass),
    pg_stat_get_xact_numscans('search_blocks_block_idx'::regclass),
    pg_stat_get_xact_numscans('search_blocks_keys_idx'::regclass)
"""

# More than a batch, of one chat.
FILL_QUEUE = """
INSERT INTO search_queue (message_id, chat_id, number, changed_at)
SELECT n, 1, n, now() FROM generate_series(1, %s) n
"""


@pytest.mark.parametrize("known", ["", "ANALYZE", "VACUUM"], ids=["nothing", "rows", "everything"])
def test_blocks_are_found_by_their_grams_whatever_the_planner_knows(
    search_stores: SearchStores, clean_crud: dict[str, str], known: str
) -> None:
    """Also while the grams of the newest blocks wait in the index's pending list."""
    search_stores.add(*bodies(1800, seed=5))
    search_stores.index()
    if known:
        search_stores.database.execute(f"{known} search_blocks, search_texts")
    blocks = search_stores.count("search_blocks")
    with psycopg.connect(clean_crud["DATABASE_URL"], **REQUESTS) as connection:
        for keyword in ("zzz", "e", "tea ten"):
            plan = Plan(search_stores.chat_id(1), tuple(split_parts(keyword)), 100, ranked=True)
            find_hits(connection, plan, blocks)
        [(whole, by_number, by_grams)] = connection.execute(SCANS).fetchall()
    assert (whole, by_number) == (0, 0)
    assert by_grams > 0


def test_blocks_are_found_by_their_grams_however_many_parts_have_two_readings(
    search_stores: SearchStores, clean_crud: dict[str, str]
) -> None:
    """File names pasted from macOS have decomposed letters in every word."""
    keyword = " ".join(f"{letter}\u3099" for letter in "かきくけこ")
    search_stores.add(*bodies(900, seed=5), f"so {keyword}", *bodies(900, seed=6))
    search_stores.index()
    with psycopg.connect(clean_crud["DATABASE_URL"], **REQUESTS) as connection:
        plan = Plan(search_stores.chat_id(1), split_parts(keyword), 100, ranked=True)
        assert [hit.number for hit in find_hits(connection, plan, blocks_of(search_stores))] == [
            901
        ]
        [(_whole, _by_number, by_grams)] = connection.execute(SCANS).fetchall()
    assert by_grams > 0


def test_what_was_sent_is_found_by_its_ids_in_a_queue_of_one_chat(
    search_stores: SearchStores, clean_crud: dict[str, str]
) -> None:
    with psycopg.connect(clean_crud["DATABASE_URL"], **INDEXER) as connection:
        connection.execute(FILL_QUEUE, (queue.BATCH + 500,))
        rows = queue.turn.read(connection, queue.READ, queue.BATCH, queue.BATCH_BYTES)
        queue.settle(connection, [queue.Queued(*row) for row in rows], Outcome())
        left = connection.execute("SELECT count(*) FROM search_queue").fetchone()
        by_chat = "SELECT pg_stat_get_xact_numscans('search_queue_chat_idx'::regclass)"
        assert connection.execute(by_chat).fetchone() == (0,)
    assert left == (500,)


def blocks_of(stores: SearchStores) -> int:
    """Return how many blocks are covered."""
    [(blocks,)] = stores.database.execute("SELECT blocks FROM search_chats").fetchall()
    return int(blocks)
