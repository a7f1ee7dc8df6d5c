"""Deleted messages in both indexes, also beside an indexer that has read them before."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.crud_rows import lock_waits
from tests.integration.search.search_stores import TOKEN, SearchStores
from tests.integration.search.test_two_at_once import (
    fold_all,
    index_all,
    prepare,
    schedules,
    wrong,
)
from tests.integration.search.turns import take_turns
from tests.polling import wait_until

SECRET = "quixotic"
STEPS = (1, 2, 3, 4, 5, 6, 8, 10)


def delete(number: int, chat: int = 1) -> None:
    from crud_service.api.deleting import delete_message
    from crud_service.api.etags import Preconditions

    assert delete_message(TOKEN, chat, number, Preconditions())


def grams(stores: SearchStores) -> str:
    return str(stores.database.execute("SELECT keys FROM search_blocks").fetchall())


def test_a_deleted_message_is_found_by_nothing(any_backend: SearchStores) -> None:
    stores = any_backend
    stores.add("before", SECRET, "behind")
    stores.index_all()
    assert stores.find("quix") == [2]
    delete(2)
    assert stores.find("quix") == []
    stores.index_all()
    assert stores.find("quix") == []
    assert stores.find("b") == [3, 1]
    # A keyword of which nothing shows matches every message.
    assert stores.find("\u00ad") == [3, 1]


def test_its_document_is_gone_and_no_rebuild_brings_it_back(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.feed.rebuild import rebuild
    from crud_service.search.index.elasticsearch_index import alias, client

    def documents() -> int:
        client().indices.refresh(index=alias())
        return int(client().count(index=alias())["count"])

    search_stores.add("before", SECRET)
    search_stores.index_all()
    assert documents() == 2
    delete(2)
    search_stores.index_all()
    assert documents() == 1
    rebuild(search_stores.database, lambda _count: None)
    assert documents() == 1
    assert wrong(search_stores) == []


def test_the_grams_of_its_block_are_gone_at_once_and_the_others_are_built_again(
    search_stores: SearchStores,
) -> None:
    search_stores.database.execute("TRUNCATE messages")
    search_stores.add(*[f"early number {i}" for i in range(70)], SECRET, *["late"] * 80)
    fold_all(search_stores.database)
    assert "uix" in grams(search_stores)
    delete(71)
    assert "uix" not in grams(search_stores)
    assert search_stores.find("late", limit=3) == [151, 150, 149]
    fold_all(search_stores.database)
    assert "uix" not in grams(search_stores)
    assert wrong(search_stores) == []
    assert search_stores.count("search_blocks WHERE array_length(keys, 1) = 1") == 0


def fold(connection: Any) -> None:
    fold_all(connection)


def refold(connection: Any) -> None:
    from crud_service.search.feed.refold import refold_some

    while refold_some(connection, hand_on=False, rows=40):
        pass


@pytest.mark.parametrize("work", [fold, refold])
def test_a_deletion_beside_an_indexer_leaves_neither_text_nor_grams(
    search_stores: SearchStores, clean_crud: dict[str, str], work: Any
) -> None:
    """Wherever the indexer is stopped between its reads and its writes."""

    from crud_service.api.deleting import _erase_message
    from crud_service.api.etags import Preconditions

    class Anything(Preconditions):
        def check(self, representation: bytes) -> None:
            """Take any state."""

    def delete_two(connection: Any) -> None:
        for number in (3, 150):
            with connection.transaction():
                _erase_message(connection, ("1", str(number), TOKEN), Anything())

    for turns in schedules(STEPS, (1,)):
        prepare(search_stores)
        for number in (3, 150):
            search_stores.update(number, f"{SECRET} text")
        search_stores.database.execute("UPDATE search_refold SET done_format = 0, format = 0")
        errors = take_turns(clean_crud["DATABASE_URL"], [work, delete_two], turns, lambda: None)
        assert errors == []
        texts = search_stores.database.execute("SELECT marked FROM search_texts").fetchall()
        assert SECRET not in str(texts), turns
        assert wrong(search_stores) == [], turns
        assert "uix" not in grams(search_stores), turns
    index_all(search_stores)


def test_a_text_that_is_erased_while_its_block_is_read_leaves_no_grams(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.index.blocks import lock_chats, read_piece, write_piece

    search_stores.add("a secret", "an apple")
    search_stores.index()
    chat_id, database = search_stores.chat_id(1), search_stores.database
    piece = read_piece(database, chat_id, 0, 1)
    database.execute("DELETE FROM search_texts WHERE number = 1")
    with database.transaction():
        lock_chats(database, [chat_id])
        write_piece(database, piece)
    # The empty gram, by which the block is always scanned.
    assert database.execute("SELECT keys FROM search_blocks").fetchall() == [([f"{chat_id}:"],)]


def test_a_chat_that_is_erased_while_its_lock_is_awaited_gets_no_other_row(
    search_stores: SearchStores, clean_crud: dict[str, str]
) -> None:
    from crud_service.erase.rows import ERASE_CHATS, ERASE_COVERAGE
    from crud_service.postgresql import INDEXER
    from crud_service.search.index.blocks import lock_chats
    from crud_service.stores.database import connect_as

    search_stores.add("a secret")
    search_stores.index()
    chats, database = [search_stores.chat_id(1)], search_stores.database
    url = clean_crud["DATABASE_URL"]
    database.execute("DELETE FROM messages")
    with connect_as(INDEXER) as other, ThreadPoolExecutor(1) as thread:
        with database.transaction():
            database.execute(ERASE_COVERAGE, (chats,))
            database.execute(ERASE_CHATS, (chats,))
            locking = thread.submit(lock_chats, other, chats)
            wait_until(lambda: lock_waits(url) == 1, 30)
        assert locking.result() == {}
    assert database.execute("SELECT FROM search_chats").fetchall() == []


def test_why_a_message_was_not_folded_is_not_kept_if_it_was_erased_meanwhile(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed.outbox import index_batch

    database = search_stores.database
    search_stores.add(SECRET)

    def erase_and_fail(body: str) -> str:
        database.execute("SET chat.erasing = 'on'")
        database.execute("DELETE FROM messages")
        raise ValueError(body)

    assert index_batch(database, hand_on=False, mark=erase_and_fail) == 1
    assert not search_stores.is_waiting(with_queue=True)
    assert database.execute("SELECT reason FROM search_failures").fetchall() == []


def test_why_elasticsearch_refused_a_message_is_not_kept_if_it_was_deleted_meanwhile(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed import queue
    from crud_service.search.feed.bulk import Outcome
    from crud_service.search.feed.outbox import index_batch

    database = search_stores.database
    search_stores.add(SECRET)
    index_batch(database, hand_on=True)

    def settle_all(reason: str) -> None:
        rows = queue.turn.read(database, queue.READ, queue.BATCH, queue.BATCH_BYTES)
        queued = [queue.Queued(*row) for row in rows]
        if reason:
            delete(1)
            index_batch(database, hand_on=True)
        refused = {entry.message_id: reason for entry in queued if reason}
        queue.settle(database, queued, Outcome(refused=refused))

    settle_all(f"cannot index {SECRET}")
    settle_all("")
    assert not search_stores.is_waiting(with_queue=True)
    assert database.execute("SELECT reason FROM search_failures").fetchall() == []


def test_why_a_message_was_refused_is_not_kept_behind_a_deletion_that_has_not_committed(
    search_stores: SearchStores, clean_crud: dict[str, str]
) -> None:
    from crud_service.postgresql import INDEXER
    from crud_service.search.feed.outbox import Refused, set_aside
    from crud_service.stores.database import connect_as

    search_stores.add(SECRET, "kept")
    chat_id, database = search_stores.chat_id(1), search_stores.database
    ids = dict(database.execute("SELECT number, id FROM messages").fetchall())
    refused = [Refused(ids[number], chat_id, number, f"text {number}", False) for number in (1, 2)]
    refused.append(Refused(10**9, chat_id, 3, "a deletion", True))
    with connect_as(INDEXER) as other, ThreadPoolExecutor(1) as thread:
        with database.transaction():
            database.execute("SET LOCAL chat.erasing = 'on'")
            database.execute("DELETE FROM messages WHERE chat_id = %s AND number = 1", (chat_id,))
            keeping = thread.submit(set_aside, other, refused)
            wait_until(lambda: lock_waits(clean_crud["DATABASE_URL"]) == 1, 30)
        keeping.result()
    kept = database.execute("SELECT reason FROM search_failures ORDER BY message_id").fetchall()
    assert kept == [("text 2",), ("a deletion",)]
