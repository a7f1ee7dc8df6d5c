"""`check_index` while an index is being filled, when it is interrupted, and what a repair reads."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command

from crud_service.postgresql import INDEXER
from tests.children import child
from tests.integration.search.search_stores import SearchStores
from tests.polling import wait_until

# How many rows of the table this transaction has read, by scans of it and of its indexes: one of
# the whole primary key counts as none of the table.
ROWS_READ = """
SELECT pg_stat_get_xact_tuples_returned('messages'::regclass)
    + sum(pg_stat_get_xact_tuples_returned(indexrelid))::bigint
FROM pg_index WHERE indrelid = 'messages'::regclass
"""


def gc_deletes() -> str:
    from crud_service.search.index.elasticsearch_index import client

    [body] = client().indices.get_settings(index="messages").body.values()
    settings: dict[str, Any] = body["settings"]["index"]
    return str(settings["gc_deletes"])


def lose_documents(stores: SearchStores) -> None:
    from crud_service.search.feed.bulk import write_documents

    rows = stores.database.execute("SELECT id FROM messages").fetchall()
    write_documents("messages", [], [message_id for (message_id,) in rows], refresh=True)


def test_texts_not_queued_yet_for_a_new_index_are_pending_and_not_differences(
    search_stores: SearchStores, elasticsearch: None, capsys: pytest.CaptureFixture[str]
) -> None:
    search_stores.add("apple", "pear", "plum")
    search_stores.index_all()
    lose_documents(search_stores)
    filled = "UPDATE search_state SET fill_chat = %s, fill_number = 1"
    search_stores.database.execute(filled, (search_stores.chat_id(1),))
    with pytest.raises(CommandError):
        call_command("check_index")
    out = capsys.readouterr().out
    assert "3 messages checked, 2 of them pending" in out
    assert "Elasticsearch: 1 differences" in out


@pytest.mark.parametrize("differing", [{"sender": "ann"}, {"created_ms": 0}], ids=str)
def test_a_document_with_another_sender_or_time_is_found_and_repaired(
    search_stores: SearchStores,
    elasticsearch: None,
    differing: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from crud_service.search.feed.bulk import write_documents
    from crud_service.search.text.texts import CREATED_MS, Text

    search_stores.add("apple", "pear")
    search_stores.index_all()
    columns = f"message.chat_id, message.number, id, text.version, marked, sender, {CREATED_MS}"
    joined = "messages AS message JOIN search_texts AS text ON text.message_id = id"
    query = f"SELECT {columns} FROM {joined} ORDER BY id LIMIT 1"
    text = Text(*search_stores.database.execute(query).fetchall()[0])
    write_documents("messages", [replace(text, **differing)], refresh=True)
    with pytest.raises(CommandError):
        call_command("check_index", "--repair")
    assert f"message id {text.message_id}: different sender or time" in capsys.readouterr().out
    search_stores.index_all()
    call_command("check_index")


def test_what_waits_is_looked_up_once_for_all_suspects(search_stores: SearchStores) -> None:
    from crud_service.search.feed.check import Check

    search_stores.add(*[f"message {i}" for i in range(1000)])
    look_ups: list[int] = []

    class Counted(Check):
        def pending(self, message_ids: Sequence[int]) -> list[int]:
            look_ups.append(len(message_ids))
            return super().pending(message_ids)

    check = Counted(search_stores.database, with_index=False, settle_seconds=0)
    report = check.run(lambda _count: None)
    assert (report.pending, report.differs) == (1000, False)
    assert look_ups == [1000]


def test_a_repair_reads_only_what_it_repairs(
    search_stores: SearchStores, clean_crud: dict[str, str]
) -> None:
    from crud_service.search.feed.check_report import Found, Key
    from crud_service.search.feed.repair import repair

    search_stores.add(*[f"message {i}" for i in range(5000)])
    database = search_stores.database
    database.execute("ANALYZE messages")
    chat = search_stores.chat_id(1)
    [(first,)] = database.execute("SELECT min(id) FROM messages").fetchall()
    found = Found(texts={first: "missing"}, stray_texts=[Key(chat, 7, 0)])
    database.execute("TRUNCATE search_outbox")
    with psycopg.connect(clean_crud["DATABASE_URL"], **INDEXER) as connection:
        connection.execute(ROWS_READ)  # begins the transaction, in which the repair's is nested
        repair(connection, found)
        [(rows_read,)] = connection.execute(ROWS_READ).fetchall()
    assert rows_read < 100
    queued = database.execute("SELECT number FROM search_outbox ORDER BY id").fetchall()
    assert queued == [(1,), (7,)]


def test_a_repair_that_is_stopped_leaves_the_settings_of_the_index(
    search_stores: SearchStores, elasticsearch: None, clean_crud: dict[str, str]
) -> None:
    from django.conf import settings

    search_stores.add("apple", "pear")
    search_stores.index_all()
    lose_documents(search_stores)
    before = gc_deletes()
    with child(
        [sys.executable, "-m", "crud_service.manage", "check_index", "--repair"],
        env={**os.environ, **clean_crud, "ELASTICSEARCH_URL": settings.ELASTICSEARCH_URL},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        wait_until(lambda: gc_deletes() != before or process.poll() is not None, 60, pause=0.005)
        process.terminate()
        process.wait(timeout=60)
    assert gc_deletes() == before


def forget_at_once() -> None:
    """Change the setting as a repair does, which is then killed."""
    from crud_service.search.index.elasticsearch_index import client

    client().indices.put_settings(index="messages", settings={"gc_deletes": "0s"})


def test_a_check_restores_the_settings_after_a_repair_that_was_killed(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    search_stores.add("apple")
    search_stores.index_all()
    before = gc_deletes()
    forget_at_once()
    call_command("check_index")
    assert gc_deletes() == before


def test_a_check_leaves_the_settings_to_a_repair_in_progress(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.feed.repair import FORGETTING_LOCK
    from crud_service.stores.advisory_locks import lock

    search_stores.add("apple")
    search_stores.index_all()
    forget_at_once()
    with lock(search_stores.database, FORGETTING_LOCK):
        call_command("check_index")
        assert gc_deletes() == "0s"


def test_a_check_of_blocks_shows_its_progress(
    search_stores: SearchStores, capsys: pytest.CaptureFixture[str]
) -> None:
    search_stores.add(*[f"message {i}" for i in range(1700)])
    search_stores.index()
    [(blocks,)] = search_stores.database.execute("SELECT blocks FROM search_chats").fetchall()
    call_command("check_index")
    assert f"{blocks}/{blocks}" in capsys.readouterr().err
