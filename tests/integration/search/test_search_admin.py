"""Search on the operators' site: what waits, what failed, and its retry."""

import re

import httpx
import pytest

from tests.integration.operators.test_admin import change, operator
from tests.integration.search.search_stores import TOKEN, SearchStores

__all__ = ["operator"]

TABLES = ("unfoldedchange", "unsentchange", "failure", "chatcoverage", "indexstate")
FAILURES = "/admin/search/failure/"


def fail(stores: SearchStores, message_id: int, reason: str = "400 refused") -> None:
    stores.database.execute(
        "INSERT INTO search_failures (message_id, reason) VALUES (%s, %s)", (message_id, reason)
    )


def retry(operator: httpx.Client, message_id: int) -> httpx.Response:
    return change(operator, FAILURES, {"action": "retry", "_selected_action": str(message_id)})


def test_every_table_is_listed_and_nothing_can_be_added_changed_or_deleted(
    operator: httpx.Client, search_stores: SearchStores
) -> None:
    search_stores.add("one")
    fail(search_stores, 1)
    search_stores.database.execute(
        "INSERT INTO search_queue (message_id, chat_id, number, changed_at)"
        " SELECT message_id, chat_id, number, changed_at FROM search_outbox"
    )
    search_stores.database.execute("INSERT INTO search_chats SELECT chat_id, 3 FROM search_outbox")
    for table in TABLES:
        page = operator.get(f"/admin/search/{table}/")
        assert page.status_code == 200, table
        link = re.search(rf'href="(/admin/search/{table}/[^"/]+/change/)', page.text)
        assert link, table
        row = operator.get(link[1])
        assert row.status_code == 200, table
        assert 'name="_save"' not in row.text
        assert operator.get(f"/admin/search/{table}/add/").status_code == 403


@pytest.mark.parametrize("table", ["unfoldedchange", "failure"])
@pytest.mark.parametrize(("path", "found"), [(f"{TOKEN} 1 1", 1), (f"{TOKEN} 1 3", 0)])
def test_rows_are_found_by_the_path_of_their_message(
    operator: httpx.Client, search_stores: SearchStores, table: str, path: str, found: int
) -> None:
    search_stores.add("one", "two")
    fail(search_stores, 1)
    page = operator.get(f"/admin/search/{table}/", params={"q": path}).text
    assert len(set(re.findall(rf"/admin/search/{table}/(\d+)/change/", page))) == found


def test_a_message_that_elasticsearch_refused_is_shown_with_its_reason_and_retried(
    operator: httpx.Client,
    search_stores: SearchStores,
    elasticsearch: None,
) -> None:
    from crud_service.search.index.elasticsearch_index import find_indices, remove_index

    search_stores.refuse_numbers_above_127()
    search_stores.add(*["hello"] * 128)
    search_stores.index_all()
    page = operator.get(FAILURES).text
    assert f"{TOKEN} 1 128" in page
    assert "document_parsing_exception" in page
    # It fails again for as long as the cause is there.
    assert retry(operator, 128).status_code == 302
    search_stores.index_all()
    assert search_stores.count("search_failures") == 1
    for index in find_indices():
        remove_index(index.name)
    assert retry(operator, 128).status_code == 302
    search_stores.index_all()
    assert search_stores.count("search_failures") == 0
    assert 128 in search_stores.find("hello", limit=200)


def test_a_deleted_message_stays_visible_and_its_retry_deletes_the_document(
    operator: httpx.Client, search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.index.elasticsearch_index import client

    search_stores.add("hello")
    search_stores.index_all()
    search_stores.database.execute("DELETE FROM messages")
    search_stores.database.execute("TRUNCATE search_outbox")
    fail(search_stores, 1, "given up")
    page = operator.get(FAILURES).text
    assert "given up" in page
    assert "deleted" in page
    assert client().count(index="messages")["count"] == 1
    assert retry(operator, 1).status_code == 302
    search_stores.index_all()
    assert client().count(index="messages")["count"] == 0
    assert search_stores.count("search_failures") == 0


def test_a_change_that_is_indexed_ends_the_failure_of_an_earlier_one(
    search_stores: SearchStores,
) -> None:
    search_stores.add("one", "two")
    fail(search_stores, 1)
    fail(search_stores, 2)
    search_stores.database.execute("DELETE FROM search_outbox WHERE number = 2")
    search_stores.index_all()
    left = search_stores.database.execute("SELECT message_id FROM search_failures").fetchall()
    assert left == [(2,)]


def test_a_document_that_is_accepted_ends_the_failure_of_an_earlier_try(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    search_stores.add("one")
    search_stores.index_all()
    fail(search_stores, 1)
    search_stores.database.execute(
        "INSERT INTO search_queue (message_id, chat_id, number, changed_at)"
        " SELECT message_id, chat_id, number, now() FROM search_texts"
    )
    search_stores.index_all()
    assert search_stores.count("search_failures") == 0


def test_an_older_document_that_is_accepted_ends_no_later_failure(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    search_stores.add("one")
    search_stores.index_all()
    search_stores.database.execute(
        "INSERT INTO search_queue (message_id, chat_id, number, changed_at)"
        " SELECT message_id, chat_id, number, now() - interval '1 second' FROM search_texts"
    )
    fail(search_stores, 1)
    search_stores.index_all()
    assert search_stores.count("search_queue") == 0
    assert search_stores.count("search_failures") == 1


def test_a_paused_change_is_sent_at_once_when_an_operator_says_so(
    operator: httpx.Client, search_stores: SearchStores, elasticsearch: None
) -> None:
    search_stores.add("one")
    search_stores.index_all()
    search_stores.database.execute(
        "INSERT INTO search_queue (message_id, chat_id, number, changed_at, attempts, not_before)"
        " SELECT message_id, chat_id, number, now(), 3, now() + interval '1 hour' FROM search_texts"
    )
    search_stores.index()
    assert search_stores.count("search_queue") == 1
    row = search_stores.database.execute("SELECT id FROM search_queue").fetchone()
    assert row
    fields = {"action": "send_now", "_selected_action": str(row[0])}
    assert change(operator, "/admin/search/unsentchange/", fields).status_code == 302
    search_stores.index_all()
    assert search_stores.count("search_queue") == 0


def test_the_models_are_the_tables_and_need_no_migration(search_stores: SearchStores) -> None:
    from django.apps import apps
    from django.core.management import call_command

    for model in apps.get_app_config("search").get_models():
        assert not model._meta.managed
        columns = search_stores.database.execute(
            "SELECT column_name, is_nullable = 'YES' FROM information_schema.columns"
            " WHERE table_name = %s",
            (model._meta.db_table,),
        ).fetchall()
        fields = [(field.column, field.null) for field in model._meta.local_concrete_fields]
        assert sorted(fields) == sorted(columns), model
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    call_command("makemigrations", "chat", "--check", "--dry-run", verbosity=0)
