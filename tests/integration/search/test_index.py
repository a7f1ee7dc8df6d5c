"""A change on its way to both indexes: in order, through outages, with automatic rebuilds."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from elastic_transport import ConnectionTimeout

from tests.integration.search.search_stores import SearchStores
from tests.polling import wait_until

NOWHERE = "http://127.0.0.1:9"


def set_elasticsearch(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """Set the address of Elasticsearch; return the previous one."""
    from django.conf import settings

    before = settings.ELASTICSEARCH_URL
    monkeypatch.setattr(settings, "ELASTICSEARCH_URL", url)
    return str(before)


def documents(number: int = 1) -> int:
    """Return the number of documents in Elasticsearch."""
    from crud_service.search.index.elasticsearch_index import client

    client().indices.refresh(index="messages")
    return int(client().count(index="messages").body["count"])


def test_only_changes_of_bodies_enter_the_outbox(search_stores: SearchStores) -> None:
    search_stores.add("one", "two")
    search_stores.index()
    search_stores.database.execute("UPDATE messages SET updated_at = now()")
    assert search_stores.count("search_outbox") == 0
    search_stores.update(1, "changed")
    assert search_stores.count("search_outbox") == 1


def test_a_change_and_its_entry_in_the_outbox_are_rolled_back_together(
    search_stores: SearchStores,
) -> None:
    class Rollback(Exception):
        pass

    with contextlib.suppress(Rollback), search_stores.database.transaction():
        search_stores.add("never was")
        raise Rollback
    assert search_stores.count("search_outbox") == 0


def test_a_batch_that_fails_halfway_stays_in_the_outbox(search_stores: SearchStores) -> None:
    search_stores.add("one", "two")
    with dying_when_texts_are_stored(search_stores):
        search_stores.index()
    assert search_stores.count("search_outbox") == 2
    assert search_stores.count("search_texts") == 0


@contextlib.contextmanager
def dying_when_texts_are_stored(stores: SearchStores) -> Iterator[None]:
    """Have PostgreSQL end every connection that stores a folded text."""
    stores.database.execute("""
        CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            PERFORM pg_terminate_backend(pg_backend_pid());
            RETURN NEW;
        END $$;
        CREATE TRIGGER dies BEFORE INSERT ON search_texts EXECUTE FUNCTION die()
    """)
    try:
        yield
    finally:
        stores.database.execute("DROP FUNCTION die() CASCADE")


def test_an_older_text_never_replaces_a_newer_one(search_stores: SearchStores) -> None:
    from crud_service.search.feed.outbox import store_texts
    from crud_service.search.text.texts import Text

    search_stores.add("old")
    chat = search_stores.chat_id(1)
    row = search_stores.database.execute("SELECT id FROM messages").fetchone()
    for version, marked in [(2, " new "), (1, " old ")]:
        store_texts(search_stores.database, [Text(chat, 1, row[0], version, marked)])
    row = search_stores.database.execute("SELECT version, marked FROM search_texts").fetchone()
    assert row == (2, " new ")


def test_a_text_of_a_deleted_message_is_not_written(search_stores: SearchStores) -> None:
    from crud_service.search.feed.outbox import store_texts
    from crud_service.search.text.texts import Text

    store_texts(search_stores.database, [Text(search_stores.chat_id(1), 1, 12345, 1, " late ")])
    assert search_stores.count("search_texts") == 0


def test_two_indexers_at_once_lose_and_double_nothing(search_stores: SearchStores) -> None:
    from crud_service.postgresql import INDEXER
    from crud_service.search.feed.outbox import index_batch
    from crud_service.stores.database import connect_as

    search_stores.add(*[f"message {i}" for i in range(3000)])

    def drain() -> None:
        with connect_as(INDEXER) as connection:
            while index_batch(connection, hand_on=True, limit=100):
                pass

    threads = [threading.Thread(target=drain) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert search_stores.count("search_texts") == 3000
    assert search_stores.count("search_queue") == 3000
    assert search_stores.count("search_outbox") == 0


def test_a_message_is_searchable_once_the_index_refreshes(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    search_stores.add("first")
    search_stores.index()
    search_stores.add("second")
    started = time.monotonic()
    search_stores.run_indexer()
    while not search_stores.find("second"):
        assert time.monotonic() - started < 30
        time.sleep(0.02)


def test_without_elasticsearch_postgresql_stays_up_to_date_and_the_index_catches_up(
    search_stores: SearchStores, elasticsearch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_stores.add("before")
    search_stores.index()
    url = set_elasticsearch(monkeypatch, NOWHERE)
    search_stores.add("meanwhile")
    search_stores.index()
    assert search_stores.find("meanwhile") == [2]
    assert search_stores.count("search_queue") == 1
    set_elasticsearch(monkeypatch, url)
    search_stores.index()
    assert search_stores.count("search_queue") == 0
    assert documents() == 2


def test_a_wiped_elasticsearch_is_refilled_automatically(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.index import elasticsearch_index

    search_stores.add(*["hello"] * 5)
    search_stores.index()
    for index in elasticsearch_index.find_indices():
        elasticsearch_index.remove_index(index.name)
    assert search_stores.search("hello").backend == "postgresql"
    search_stores.index()
    assert documents() == 5


def test_an_alias_that_points_elsewhere_is_noticed_without_a_change(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.feed.feeder import feeding
    from crud_service.search.index.elasticsearch_index import client, find_indices

    search_stores.add("hello")
    search_stores.index_all()
    [index] = find_indices()
    with feeding("", look_seconds=0.05) as feeder:
        wait_until(feeder.is_idle, 10, lambda: "the feeder was never idle")
        mapping = client().indices.get_mapping(index=index.name)[index.name]["mappings"]
        client().indices.create(index="strange", mappings={"properties": mapping["properties"]})
        try:
            client().indices.update_aliases(
                actions=[
                    {"remove": {"index": index.name, "alias": "messages"}},
                    {"add": {"index": "strange", "alias": "messages"}},
                ]
            )
            wait_until(
                lambda: search_stores.find("hello") == [1],
                10,
                lambda: "searches lack what the other index lacks",
            )
            assert search_stores.search("hello").backend == "postgresql"
        finally:
            client().indices.delete(index="strange")


def test_changes_before_elasticsearch_was_configured_are_indexed_later(
    search_stores: SearchStores, elasticsearch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    search_stores.add("one")
    search_stores.index()
    url = set_elasticsearch(monkeypatch, "")
    search_stores.add("two")
    search_stores.index()
    set_elasticsearch(monkeypatch, url)
    assert search_stores.search("two").backend == "postgresql"
    search_stores.index()
    assert search_stores.search("two").backend == "elasticsearch"
    assert search_stores.find("two") == [2]


def test_an_index_that_is_behind_is_not_searched(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    search_stores.add("hello")
    search_stores.index()
    search_stores.database.execute(
        "INSERT INTO search_queue (message_id, chat_id, number, changed_at)"
        " VALUES (1, %s, 1, now() - interval '2 seconds')",
        (search_stores.chat_id(1),),
    )
    assert search_stores.search("hello").backend == "postgresql"


def test_a_document_that_elasticsearch_rejects_is_set_aside_and_blocks_nothing(
    search_stores: SearchStores,
    elasticsearch: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    search_stores.refuse_numbers_above_127()
    search_stores.add(*["hello"] * 200)
    search_stores.index()
    assert documents() == 127
    assert search_stores.count("search_queue") == 0
    assert search_stores.count("search_failures") == 73
    assert "messages cannot be indexed" in caplog.text
    assert "illegal_argument" not in caplog.text


def test_documents_that_elasticsearch_rejects_for_now_are_retried(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.feed.attempts import back_off_of
    from crud_service.search.index.elasticsearch_index import client

    search_stores.add("one")
    search_stores.index()
    client().indices.put_settings(index="messages", settings={"index.blocks.write": True})
    search_stores.add("two")
    search_stores.index()
    assert search_stores.count("search_queue") == 1
    assert search_stores.count("search_failures") == 0
    client().indices.put_settings(index="messages", settings={"index.blocks.write": False})
    back_off_of.cache_clear()
    search_stores.database.execute("UPDATE search_queue SET not_before = NULL")
    search_stores.index()
    assert documents() == 2


def test_a_few_documents_that_all_have_to_wait_are_not_logged_as_sent(
    search_stores: SearchStores,
    elasticsearch: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from crud_service.search.index.elasticsearch_index import client

    caplog.set_level("INFO")
    search_stores.add("one")
    search_stores.index_all()
    client().indices.put_settings(index="messages", settings={"index.blocks.write": True})
    caplog.clear()
    search_stores.add("two")
    search_stores.run_indexer()
    assert "documents sent" not in caplog.text
    [record] = [record for record in caplog.records if "documents wait" in record.message]
    assert vars(record)["reason"] == "403 cluster_block_exception"


def test_what_elasticsearch_refuses_is_logged_with_its_reason(
    search_stores: SearchStores,
    elasticsearch: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from crud_service.search.index.elasticsearch_index import client

    search_stores.add("one")
    search_stores.index_all()
    client().indices.put_settings(index="messages", settings={"index.blocks.read": True})
    assert search_stores.search("one").backend == "postgresql"
    block = "index.blocks.metadata"
    client().indices.put_settings(index="messages", settings={block: True})
    try:
        search_stores.add("two")
        search_stores.run_indexer()
    finally:
        client().indices.put_settings(index="messages", settings={block: False})
    reasons = {record.message: vars(record).get("reason", "") for record in caplog.records}
    assert reasons["searching in PostgreSQL"] == "ApiError 403 cluster_block_exception"
    assert "blocked by: [FORBIDDEN/9/index metadata" in reasons["indexing waits for Elasticsearch"]


def test_an_index_whose_creation_is_not_answered_is_not_left_behind(
    search_stores: SearchStores, elasticsearch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crud_service.search.feed import start_over
    from crud_service.search.feed.attempts import back_off_of
    from crud_service.search.index.elasticsearch_index import create_index, find_indices

    def create(name: str, stack: str) -> None:
        create_index(name, stack)
        raise ConnectionTimeout("no answer")

    search_stores.add("one")
    with monkeypatch.context() as patched:
        patched.setattr(start_over, "create_index", create)
        for _ in range(3):
            back_off_of.cache_clear()
            search_stores.run_indexer()
    assert len(find_indices()) == 1
    back_off_of.cache_clear()
    search_stores.index_all()
    assert len(find_indices()) == 1
    assert documents() == 1


def test_an_index_without_a_shard_is_created_once_and_filled_once_it_has_one(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.feed.queue import index_queued
    from crud_service.search.index.elasticsearch_index import client, find_indices

    def allocate(kind: str | None) -> None:
        client().cluster.put_settings(persistent={"cluster.routing.allocation.enable": kind})

    search_stores.add("one")
    search_stores.index_all()
    client().indices.delete(index=find_indices()[0].name)
    allocate("none")
    try:
        for _ in range(2):
            index_queued(search_stores.database)
        assert len(find_indices()) == 1
        assert search_stores.find("one") == [1]
    finally:
        allocate(None)
    search_stores.database.execute("UPDATE search_queue SET not_before = NULL")
    search_stores.index_all()
    assert documents() == 1


def test_what_changes_while_the_index_is_closed_is_indexed_once_it_is_open(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.index.elasticsearch_index import client

    search_stores.add("one", "two")
    search_stores.index_all()
    client().indices.close(index="messages")
    search_stores.add("three")
    search_stores.database.execute("DELETE FROM messages WHERE number = 1")
    search_stores.run_indexer()
    assert search_stores.count("search_queue") == 2
    client().indices.open(index="messages")
    search_stores.database.execute("UPDATE search_queue SET not_before = NULL")
    search_stores.index_all()
    assert documents() == 2
    assert search_stores.count("search_failures") == 0


def test_documents_bypass_the_ingest_pipelines_of_an_index_template(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.index.elasticsearch_index import client

    pipelines = {"index.default_pipeline": "missing", "index.final_pipeline": "missing"}
    client().indices.put_index_template(
        name="everything", index_patterns=["messages-*"], template={"settings": pipelines}
    )
    try:
        search_stores.add("one")
        search_stores.index_all()
    finally:
        client().indices.delete_index_template(name="everything")
    assert search_stores.count("search_failures") == 0
    assert documents() == 1


def test_the_lease_leaves_the_work_to_its_holder(search_stores: SearchStores) -> None:
    from contract.keys import LEASE_INDEX

    search_stores.redis.set(LEASE_INDEX, "somebody else")
    search_stores.add("hello")
    search_stores.index()
    assert search_stores.count("search_outbox") == 1


def test_a_wake_up_sends_one_task_unless_an_indexer_is_running(search_stores: SearchStores) -> None:
    from contract.keys import LEASE_INDEX, WAKE_UP_INDEX
    from crud_service.search.index.doorbell import needs_wake_up

    assert needs_wake_up(search_stores.redis)
    assert not needs_wake_up(search_stores.redis)
    search_stores.redis.delete(WAKE_UP_INDEX)
    search_stores.redis.set(LEASE_INDEX, "somebody")
    assert not needs_wake_up(search_stores.redis)


def test_a_change_rings_only_where_no_ring_waits_to_be_heard(search_stores: SearchStores) -> None:
    """Redis has each ring on disk before it answers: an update costs none that nobody misses."""
    from contract.keys import DOORBELL_INDEX
    from crud_service.search.index.doorbell import ring_once, wait_for_ring

    redis = search_stores.redis
    for request_id in ("first", "second"):
        ring_once(redis, request_id)
        assert redis.lrange(DOORBELL_INDEX, 0, -1) == [b"first"]
    assert wait_for_ring(redis, 1) == "first"
    ring_once(redis, "third")
    assert wait_for_ring(redis, 1) == "third"


def test_waking_returns_at_once_even_without_a_broker() -> None:
    import redis

    from crud_service.search.index.doorbell import Waker

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        port = silent.getsockname()[1]
        waker = Waker(lambda: redis.Redis(port=port))
        started = time.monotonic()
        for _ in range(100):
            waker.wake()
        assert time.monotonic() - started < 20  # a hundred time-outs take longer
