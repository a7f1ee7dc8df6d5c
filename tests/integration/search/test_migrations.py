"""What search had stored before is as good as what it stores now."""

import importlib

from tests.integration.search.search_stores import SearchStores
from tests.integration.search.test_search import bodies


def test_blocks_of_before_get_words_of_three_letters_as_keys(search_stores: SearchStores) -> None:
    search_stores.add(*bodies(1700, seed=7), "xx!!!foo !!!bar abc-def")
    search_stores.index()
    made_now = keys(search_stores)
    remove = (
        "UPDATE search_blocks SET keys = ARRAY(SELECT key FROM unnest(keys) AS key"
        " WHERE key !~ '^[0-9]+: ... $')"
    )
    search_stores.database.execute(remove)
    assert keys(search_stores) != made_now
    migration = importlib.import_module("crud_service.chat.migrations.0004_words_of_three")
    search_stores.database.execute(migration.ADD)
    assert keys(search_stores) == made_now


def keys(stores: SearchStores) -> dict[int, set[str]]:
    """The keys of each block."""
    rows = stores.database.execute("SELECT block, keys FROM search_blocks").fetchall()
    return {block: set(found) for block, found in rows}
