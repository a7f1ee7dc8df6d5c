"""Search data stored by earlier versions is migrated."""

import importlib

from tests.integration.search.search_stores import SearchStores
from tests.integration.search.test_search import bodies


def test_existing_blocks_get_three_letter_words_as_keys(search_stores: SearchStores) -> None:
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


def test_changes_that_waited_for_the_upgrade_get_the_application_of_their_chat(
    search_stores: SearchStores,
) -> None:
    migration = importlib.import_module("crud_service.chat.migrations.0006_fair_queues")
    search_stores.add("hello")
    chat_id = search_stores.chat_id(1)
    database = search_stores.database
    with database.transaction(force_rollback=True):
        database.execute(migration.DROP)
        for table in ("search_outbox", "search_queue"):
            database.execute(
                f"INSERT INTO {table} (message_id, chat_id, number, changed_at)"
                " VALUES (2, %s, 2, now()), (3, 0, 3, now())",
                (chat_id,),
            )
        database.execute("UPDATE search_state SET index_format = 1")
        database.execute(migration.CREATE)
        row = database.execute("SELECT application_id FROM chats WHERE id = %s", (chat_id,))
        ((application_id,),) = row.fetchall()
        for table, waiting in (("search_outbox", 2), ("search_queue", 1)):
            found = database.execute(f"SELECT application_id, chat_id FROM {table}").fetchall()
            assert sorted(found) == [(0, 0), *[(application_id, chat_id)] * waiting]
        search_stores.add("behind the upgrade")
        query = "SELECT application_id FROM search_outbox ORDER BY id DESC LIMIT 1"
        assert database.execute(query).fetchone() == (application_id,)
        assert database.execute("SELECT owns_unmarked FROM search_state").fetchone() == (True,)


def keys(stores: SearchStores) -> dict[int, set[str]]:
    """Return the keys of each block."""
    rows = stores.database.execute("SELECT block, keys FROM search_blocks").fetchall()
    return {block: set(found) for block, found in rows}
