"""Waiting changes are read in bounded batches, with a fair share for each application."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from crud_service.interval import Interval
from tests.integration.search.search_stores import SearchStores, items
from tests.polling import wait_until

Index = Callable[..., int]


def add_application(stores: SearchStores, name: str) -> int:
    """Add another application with one chat; return the chat's id."""
    row = stores.database.execute(
        "WITH a AS (INSERT INTO applications (access_token, name) VALUES (%s, %s) RETURNING id)"
        " INSERT INTO chats (application_id, number) SELECT id, 1 FROM a RETURNING id",
        (name.ljust(24, "x"), name),
    ).fetchone()
    return int(row[0])


def post(stores: SearchStores, chat_id: int, count: int, body: str = "hello") -> None:
    stores.database.execute(
        "INSERT INTO messages (chat_id, number, body) SELECT %s, number, %s FROM"
        " generate_series(1 + (SELECT count(*) FROM messages WHERE chat_id = %s),"
        " %s + (SELECT count(*) FROM messages WHERE chat_id = %s)) AS number",
        (chat_id, body, chat_id, count, chat_id),
    )


def texts_of(stores: SearchStores, chat_id: int) -> int:
    query = "SELECT count(*) FROM search_texts WHERE chat_id = %s"
    return int(stores.database.execute(query, (chat_id,)).fetchone()[0])


def test_a_new_message_is_in_the_next_batch_whatever_another_application_has_waiting(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed.outbox import index_batch

    loud, quiet = (add_application(search_stores, name) for name in ("loud", "quiet"))
    post(search_stores, loud, 5000)
    post(search_stores, quiet, 3)
    assert index_batch(search_stores.database, hand_on=True, limit=100) == 100
    assert texts_of(search_stores, quiet) == 3
    assert texts_of(search_stores, loud) == 97


def test_shares_are_equal_in_bytes_and_not_in_rows(search_stores: SearchStores) -> None:
    from crud_service.search.feed.outbox import index_batch

    long, short = (add_application(search_stores, name) for name in ("long", "short"))
    post(search_stores, long, 50, "long " * 4000)
    post(search_stores, short, 300)
    index_batch(search_stores.database, hand_on=True, limit=1000, size=200_000)
    assert texts_of(search_stores, long) <= 8
    assert texts_of(search_stores, short) == 300


def test_more_applications_than_fit_into_a_batch_take_turns(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed.outbox import index_batch

    chats = [add_application(search_stores, f"app-{i}") for i in range(25)]
    for chat_id in chats:
        post(search_stores, chat_id, 20)
    for _ in range(3):
        index_batch(search_stores.database, hand_on=True, limit=10)
    assert all(texts_of(search_stores, chat_id) for chat_id in chats)


def test_a_batch_at_the_end_of_the_applications_goes_on_with_the_first_ones(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed.fair import Turn

    for i in range(3):
        post(search_stores, add_application(search_stores, f"app-{i}"), 1)
    turn = Turn("search_outbox")
    first = turn.applications(search_stores.database, 2)
    assert turn.applications(search_stores.database, 2) == [first[-1] + 1, first[0]]


def test_an_entry_that_elasticsearch_lacks_is_sent_in_its_applications_turn(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.feed.outbox import index_batch
    from crud_service.search.feed.queue import index_queued

    loud, quiet = (add_application(search_stores, name) for name in ("loud", "quiet"))
    post(search_stores, loud, 500)
    post(search_stores, quiet, 2)
    while index_batch(search_stores.database, hand_on=True):
        pass
    assert index_queued(search_stores.database, limit=50) >= 50
    row = search_stores.database.execute(
        "SELECT count(*) FROM search_queue WHERE chat_id = %s AND application_id <> 0", (quiet,)
    ).fetchone()
    assert row[0] == 0


@pytest.mark.parametrize("table", ["search_outbox", "search_queue"])
def test_a_batch_ends_at_its_byte_limit(search_stores: SearchStores, table: str) -> None:
    """A thousand maximum-size messages are never in memory together."""
    from crud_service.search.feed import outbox, queue
    from crud_service.search.feed.fair import Turn

    search_stores.add(*["x" * 60_000] * 50)
    query, column = outbox.READ, 5
    if table == "search_queue":
        query, column = queue.READ, queue.Queued._fields.index("marked")
        while outbox.index_batch(search_stores.database, hand_on=True):
            pass
    rows = Turn(table).read(search_stores.database, query, 1000, 300_000)
    assert sum(len(row[column]) for row in rows) <= 300_000 + 60_002


@pytest.mark.parametrize("table", ["search_outbox", "search_queue"])
def test_a_batch_keeps_its_limit_whatever_the_plan(search_stores: SearchStores, table: str) -> None:
    from crud_service.search.feed import outbox, queue
    from crud_service.search.feed.fair import Turn

    database = search_stores.database
    search_stores.add(*[f"message {i}" for i in range(500)])
    query = outbox.READ
    if table == "search_queue":
        query = queue.READ
        outbox.index_batch(database, hand_on=True)
    for wanted in ("hashjoin", "mergejoin", "hashagg", "sort", "material", "indexscan"):
        database.execute(f"SET enable_{wanted} = off")
    assert len(Turn(table).read(database, query, 10, 10**9)) == 10


def test_a_new_index_is_filled_while_others_wait_for_elasticsearch(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed import start_over

    search_stores.add(*["hello"] * 3)
    search_stores.index()
    database = search_stores.database
    database.execute(
        "INSERT INTO search_queue (application_id, message_id, chat_id, number, changed_at)"
        " SELECT 1, i, 1, i, now() FROM generate_series(1, %s) AS i",
        (start_over.QUEUE_LENGTH + 1,),
    )
    database.execute("UPDATE search_state SET fill_chat = 0, fill_number = 0")
    assert start_over.fill_queue(database) == 3
    database.execute("UPDATE search_state SET fill_chat = 0, fill_number = 0")
    database.execute("UPDATE search_queue SET application_id = 0")
    assert start_over.fill_queue(database) == 0
    database.execute("UPDATE search_state SET fill_chat = NULL, fill_number = NULL")


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


@pytest.mark.parametrize("table", ["search_outbox", "search_queue"])
def test_reading_a_batch_costs_the_same_whatever_waits(
    search_stores: SearchStores, table: str
) -> None:
    """With 200,000 changes of one application waiting, a batch reads only its own rows."""
    from crud_service.postgresql import INDEXER
    from crud_service.search.feed import fair, outbox, queue
    from crud_service.stores.database import connect_as

    database = connect_as(INDEXER)
    database.execute(
        f"INSERT INTO {table} (application_id, message_id, chat_id, number, changed_at)"
        " SELECT 1, i, 1, i, now() FROM generate_series(1, 200000) AS i"
    )
    database.execute(f"INSERT INTO {table} VALUES (DEFAULT, 1, 1, 1, now())")
    query = outbox.READ if table == "search_outbox" else queue.READ
    explain = "EXPLAIN (ANALYZE, FORMAT JSON) "
    listed = {"after": -1, "limit": 1000}
    picked = {"applications": [0, 1], "share": 1000, "rows": 1000, "bytes": 1_000_000}
    for statement, parameters in (
        (fair.LIST.format(table=table), listed),
        (query, picked),
    ):
        (row,) = database.execute(explain + statement, parameters).fetchall()
        for node in nodes(row[0][0]["Plan"]):
            assert node["Actual Rows"] <= 1001, json.dumps(node)
            if node.get("Relation Name") == table:
                assert "Index" in node["Node Type"], json.dumps(node)
    database.close()


def test_messages_deleted_with_their_chat_leave_the_search(search_stores: SearchStores) -> None:
    """In one transaction, in either order: the foreign key is checked at its end."""
    search_stores.add("hello", "world")
    search_stores.index()
    chat_id = search_stores.chat_id(1)
    with search_stores.database.transaction():
        search_stores.database.execute("DELETE FROM chats WHERE id = %s", (chat_id,))
        search_stores.database.execute("DELETE FROM messages WHERE chat_id = %s", (chat_id,))
    search_stores.index()
    assert search_stores.count("search_texts") == 0


@pytest.mark.parametrize("error", [ValueError, IndexError, MemoryError])
def test_a_message_that_cannot_be_folded_is_set_aside_and_blocks_nothing(
    search_stores: SearchStores, error: type[Exception]
) -> None:
    from crud_service.search.feed.outbox import index_batch

    def mark(body: str) -> str:
        if body == "poison":
            raise error("no such text")
        return body

    search_stores.add(*["fine"] * 20, "poison", *["fine"] * 20)
    assert index_batch(search_stores.database, hand_on=False, mark=mark) == 41
    assert search_stores.count("search_texts") == 40
    assert search_stores.count("search_outbox") == 0
    row = search_stores.database.execute("SELECT reason FROM search_failures").fetchone()
    assert "no such text" in row[0]


def test_the_lag_is_that_of_the_oldest_change_whatever_its_id(
    search_stores: SearchStores,
) -> None:
    from crud_service.monitoring.store_metrics import GAUGES

    for table in ("search_outbox", "search_queue"):
        search_stores.database.execute(
            f"INSERT INTO {table} (message_id, chat_id, number, changed_at)"
            " VALUES (1, 1, 1, now()), (2, 1, 2, now() - interval '90 seconds')"
        )
        query = f"SELECT {GAUGES['chat_index_lag_seconds'][1]}"
        assert 90 <= search_stores.database.execute(query).fetchone()[0] < 150
        search_stores.database.execute(f"DELETE FROM {table}")


def test_another_applications_backlog_does_not_keep_a_chat_from_elasticsearch(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    search_stores.add("hello")
    search_stores.add("hello", chat=2)
    search_stores.index()
    search_stores.database.execute(
        "INSERT INTO search_queue (message_id, chat_id, number, changed_at) VALUES"
        " (1, %(chat)s, 1, now()), (2, %(chat)s, 2, now() - interval '5 seconds')",
        {"chat": search_stores.chat_id(2)},
    )
    # An Elasticsearch that has just started may take longer than a search waits for it.
    wait_until(lambda: search_stores.search("hello").backend == "elasticsearch", 30)
    assert search_stores.search("hello", chat=2).backend == "postgresql"


def api_error(status: int) -> Exception:
    from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
    from elasticsearch import ApiError

    node = NodeConfig("http", "127.0.0.1", 9)
    meta = ApiResponseMeta(status, "1.1", HttpHeaders(), 0.0, node)
    return ApiError(f"refused with {status}", meta, None)


@pytest.fixture
def no_refreshes(search_stores: SearchStores, elasticsearch: None) -> None:
    """Create an index that is never refreshed automatically."""
    from crud_service.search.index import elasticsearch_index

    search_stores.add("first")
    search_stores.index_all()
    never = {"index": {"refresh_interval": "-1"}}
    elasticsearch_index.client().indices.put_settings(index="messages", settings=never)


def test_short_messages_are_searchable_as_soon_as_they_are_sent_a_few_times_a_second(
    search_stores: SearchStores, no_refreshes: None
) -> None:
    often, once = Interval(0), Interval(1000)
    assert once.has_passed()
    search_stores.add("second")
    step(search_stores, often)
    page = search_stores.search("second")
    assert (page.backend, [item["number"] for item in items(page)]) == ("elasticsearch", [2])
    search_stores.add("third")
    step(search_stores, once)
    assert search_stores.find("third") == []


def test_a_change_that_waited_is_searchable_once_its_row_is_deleted(
    search_stores: SearchStores, no_refreshes: None
) -> None:
    refreshes = Interval(1000)
    assert refreshes.has_passed()
    search_stores.add("second")
    search_stores.database.execute(
        "UPDATE search_outbox SET changed_at = changed_at - interval '2 seconds'"
    )
    while search_stores.is_waiting(with_queue=True):
        step(search_stores, refreshes)
        assert search_stores.find("second") in ([], [2])
    page = search_stores.search("second")
    assert (page.backend, [item["number"] for item in items(page)]) == ("elasticsearch", [2])


def step(stores: SearchStores, refreshes: Interval) -> None:
    """Process what is waiting by one step, without refreshing anything."""
    from crud_service.search.feed.outbox import index_batch
    from crud_service.search.feed.queue import index_queued

    index_batch(stores.database, hand_on=True)
    index_queued(stores.database, refreshes=refreshes)


@pytest.mark.parametrize(("status", "fate"), [(413, "refused"), (400, "refused"), (429, "retry")])
def test_a_bulk_rejected_as_a_whole_is_bisected_until_the_rest_passes(
    search_stores: SearchStores, status: int, fate: str
) -> None:
    from crud_service.search.feed import bulk
    from crud_service.search.feed.bulk import Operation, Outcome

    passed: set[int] = set()

    def post(operations: Sequence[Operation], *, refresh: bool) -> Outcome:
        if any(operation.message_id == 77 for operation in operations):
            raise api_error(status)
        passed.update(operation.message_id for operation in operations)
        return Outcome()

    outcome = bulk.send([Operation(i, b"") for i in range(1000)], post=post)
    assert passed == set(range(1000)) - {77}
    assert set(getattr(outcome, fate)) == {77}


def test_a_bulk_that_is_always_rejected_is_not_divided_without_end(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed import bulk
    from crud_service.search.feed.bulk import Operation, Outcome

    asked: list[int] = []

    def post(operations: Sequence[Operation], *, refresh: bool) -> Outcome:
        asked.append(len(operations))
        raise api_error(429)

    outcome = bulk.send([Operation(i, b"") for i in range(1000)], post=post)
    assert len(asked) == 2 * bulk.MAX_DIVISIONS + 1
    assert outcome.retry == outcome.overloaded == set(range(1000))


def test_a_document_that_fails_alone_waits_and_keeps_the_time_of_its_change(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.feed import queue
    from crud_service.search.feed.bulk import Outcome
    from crud_service.search.feed.outbox import index_batch

    search_stores.add(*["hello"] * 3)
    index_batch(search_stores.database, hand_on=True)
    before = dict(
        search_stores.database.execute("SELECT message_id, changed_at FROM search_queue").fetchall()
    )
    first = min(before)

    def fail_for_first(*_: object) -> Outcome:
        return Outcome(retry={first})

    queue.index_queued(search_stores.database, write=fail_for_first)
    rows = search_stores.database.execute(
        "SELECT message_id, changed_at, attempts, not_before > changed_at FROM search_queue"
        " WHERE attempts > 0"
    ).fetchall()
    assert rows == [(first, before[first], 1, True)]
    for _ in range(queue.MAX_ATTEMPTS):
        search_stores.add("another")
        index_batch(search_stores.database, hand_on=True)
        search_stores.database.execute("UPDATE search_queue SET not_before = NULL")
        queue.index_queued(search_stores.database, write=fail_for_first)
    row = search_stores.database.execute("SELECT message_id, reason FROM search_failures")
    assert row.fetchone() == (first, f"given up after {queue.MAX_ATTEMPTS} attempts")


@pytest.mark.parametrize("status", [429, 503])
def test_a_document_that_fails_for_want_of_room_is_never_given_up(
    search_stores: SearchStores, elasticsearch: None, status: int
) -> None:
    from crud_service.search.feed import queue
    from crud_service.search.feed.bulk import Outcome, read_outcome
    from crud_service.search.feed.outbox import index_batch

    search_stores.add("hello")
    index_batch(search_stores.database, hand_on=True)
    ((first,),) = search_stores.database.execute("SELECT message_id FROM search_queue").fetchall()

    def fail_for_first(*_: object) -> Outcome:
        return read_outcome([{"index": {"_id": str(first), "status": status}}])

    for _ in range(queue.MAX_ATTEMPTS + 1):
        search_stores.add("another")
        index_batch(search_stores.database, hand_on=True)
        search_stores.database.execute("UPDATE search_queue SET not_before = NULL")
        queue.index_queued(search_stores.database, write=fail_for_first)
    assert search_stores.database.execute("SELECT FROM search_failures").fetchall() == []
    queue.index_queued(search_stores.database)
    waiting = search_stores.database.execute("SELECT message_id, attempts FROM search_queue")
    assert waiting.fetchall() == [(first, queue.SLOWEST)]
