"""How PostgreSQL finds the blocks of a search."""

import psycopg
import pytest

from crud_service.postgresql import REQUESTS
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
