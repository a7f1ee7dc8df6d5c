"""Statements that read what belongs to a chat name the chat: a table can be divided by it.

Partitions by chat and Citus find a row by the column that they divide a table by (decision 31).
What is looked at here is what the processes really send, read from their plans.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from contract.entries import Entry
from contract.sequences import sequence_path
from local_stack.ports import PLAIN_HTTP
from local_stack.stack import Stores
from tests.conftest import INTERNAL_TOKEN, own_database
from tests.integration.accepting import TOKEN, make_application, query
from tests.integration.conftest import crud_servers
from tests.integration.logged_plans import PlanLog, Scan, log_plans
from tests.integration.tables_of_chats import FOREIGN, OF_ALL_CHATS, OF_CHATS, UNDIVIDED, shape

CHAT = f"/applications/{TOKEN}/chats/1"
MESSAGES = f"{CHAT}/messages"
# Blocks are of 64 messages.
COUNT = 200
TIME = "2022-08-09T22:17:52.599Z"
FILTERS = f"sender=Ann&created_after={TIME}&created_before=2122-08-09T22:17:52.599Z"
ATTRIBUTES = '{"sender":"Ann"}'
SEARCHED = {"search_texts", "search_chats", "search_blocks"}
# Enough of them that reading all costs more than reading those of a chat.
ADD_OTHER_CHATS = """
SET session_replication_role = replica;
INSERT INTO chats (application_id, number) SELECT id, n FROM applications, generate_series(2, 50) n;
INSERT INTO messages (chat_id, number, body) SELECT id, n, '' FROM chats, generate_series(1, 200) n;
ANALYZE chats, messages;
RESET session_replication_role;
"""


@dataclass
class Paths:
    """The hot paths, each with the tables that it reads."""

    database: psycopg.Connection
    client: httpx.Client

    def store(self, numbers: range, attributes: str = "") -> None:
        from crud_service.persist.store import store

        entries = [
            Entry(
                f"{1_660_000_000_000 + number}-0",
                TOKEN,
                1,
                number,
                f"body {number}",
                "",
                attributes,
            )
            for number in numbers
        ]
        store(self.database, entries)

    def store_chat(self) -> None:
        """The chat's creation, which comes after messages of the chat."""
        from crud_service.persist.store import store

        attributes = '{"name":"a chat"}'
        store(self.database, [Entry("1660000000000-0", TOKEN, None, 1, "", "", attributes)])

    def store_late(self) -> None:
        """Entries that were set aside and are requeued."""
        self.store(range(COUNT + 3, COUNT + 4))
        self.store(range(COUNT + 1, COUNT + 3))

    def index(self) -> None:
        from crud_service.search.feed.outbox import index_batch
        from crud_service.search.index.blocks import Uncovered

        index_batch(self.database, hand_on=True, uncovered=Uncovered(1, 0))

    def feed(self) -> None:
        """What the indexer sends to Elasticsearch, which fails to take one document."""
        from crud_service.search.feed import queue
        from crud_service.search.feed.bulk import Outcome

        rows = queue.turn.read(self.database, queue.READ, queue.BATCH, queue.BATCH_BYTES)
        queued = [queue.Queued(*row) for row in rows]
        queue.settle(self.database, queued, Outcome(retry={queued[0].message_id}))

    def look(self) -> None:
        """What an idle indexer asks."""
        from crud_service.search.feed.indexer import look
        from crud_service.search.feed.queue import is_queue_empty

        look(self.database)
        is_queue_empty(self.database)

    def get(self, *paths: str) -> None:
        for path in paths:
            self.client.get(path).raise_for_status()

    def follow(self) -> None:
        stream = f"{MESSAGES}/stream?last_event_id=1.0"
        with self.client.stream("GET", stream) as events:
            assert any("message.created" in line for line in events.iter_lines())

    def seed(self) -> None:
        headers = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
        self.client.get(sequence_path(TOKEN, 1), headers=headers).raise_for_status()

    def edit(self) -> None:
        self.client.put(f"{MESSAGES}/7", json={"body": "edited"}).raise_for_status()

    def delete(self) -> None:
        self.client.delete(f"{MESSAGES}/9").raise_for_status()

    def delete_chat(self) -> None:
        from crud_service.erase.rows import erase_rows, find_pending

        self.client.delete(CHAT).raise_for_status()
        for deletion in find_pending(self.database):
            while erase_rows(self.database, deletion) is not None:
                pass


PATHS: dict[str, tuple[Callable[[Paths], None], set[str]]] = {
    "a batch": (lambda it: it.store(range(1, COUNT), ATTRIBUTES), {"messages"}),
    "a batch that was stored before": (
        lambda it: it.store(range(1, COUNT), ATTRIBUTES),
        {"messages"},
    ),
    "a conflict": (lambda it: it.store(range(1, 2)), {"messages"}),
    "a late message": (Paths.store_late, {"messages"}),
    "a chat that has messages": (Paths.store_chat, {"messages"}),
    "indexing": (Paths.index, {"messages", "search_outbox", "search_texts", "search_chats"}),
    "the way to Elasticsearch": (Paths.feed, {"messages", "search_queue", "search_texts"}),
    "an idle indexer": (Paths.look, {"search_outbox", "search_queue"}),
    "an edit": (Paths.edit, {"messages"}),
    "a deleted message": (Paths.delete, {"messages", *SEARCHED}),
    "indexing of changes": (Paths.index, {"messages", "search_outbox", *SEARCHED}),
    "a message": (lambda it: it.get(f"{MESSAGES}/1"), {"messages"}),
    "pages": (
        lambda it: it.get(
            MESSAGES, f"{MESSAGES}?limit=9&after=20", f"{MESSAGES}?limit=9&{FILTERS}"
        ),
        {"messages"},
    ),
    "changes": (lambda it: it.get(f"{MESSAGES}?changed_after=0"), {"messages"}),
    "a stream": (Paths.follow, {"messages"}),
    "the inbox": (
        lambda it: it.get(
            f"/applications/{TOKEN}/chats?include=last_message",
            f"/applications/{TOKEN}/chats?sort=-last_message&include=last_message",
        ),
        {"messages"},
    ),
    "seeding": (Paths.seed, {"messages"}),
    "searches": (
        lambda it: it.get(
            f"{MESSAGES}/search?keyword=od", f"{MESSAGES}/search?keyword=b+4&{FILTERS}"
        ),
        {"messages", "search_queue", *SEARCHED},
    ),
    "metrics": (lambda it: it.get("/metrics"), {"search_outbox", "search_queue"}),
    "an export": (lambda it: it.get(f"/applications/{TOKEN}/export"), {"messages"}),
    "a deleted chat": (Paths.delete_chat, {"messages", *SEARCHED}),
}


@pytest.fixture(scope="module")
def seen(
    stores: Stores, migrated_template: str, crud: dict[str, str]
) -> Iterator[dict[str, list[Scan]]]:
    """The scans of each path, in the order in which they stand above."""
    log = PlanLog(stores.layout.logs / "postgres.log")
    with own_database(stores, migrated_template) as url:
        make_application(url)
        log_plans(url)
        environment = {**crud, "DATABASE_URL": url, "ELASTICSEARCH_URL": ""}
        with (
            crud_servers(environment) as start,
            psycopg.connect(url, autocommit=True) as database,
            httpx.Client(base_url=start().url, timeout=15, **PLAIN_HTTP) as client,
        ):
            database.execute(ADD_OTHER_CHATS)
            paths = Paths(database, client)
            log.scans()
            found = {}
            for name, (go, _tables) in PATHS.items():
                go(paths)
                found[name] = log.scans()
            for table in OF_CHATS:
                database.execute(f"SELECT FROM {table} WHERE chat_id <> 1")
            found["of other chats"] = log.scans()
        yield found


@pytest.mark.parametrize("path", PATHS)
def test_every_statement_names_the_chat(seen: dict[str, list[Scan]], path: str) -> None:
    assert {scan.table for scan in seen[path]} >= PATHS[path][1]
    unnamed = [scan for scan in seen[path] if not scan.names_the_chat]
    assert [scan for scan in unnamed if key(scan) not in OF_ALL_CHATS] == []


def test_statements_about_all_chats_are_sent_and_name_none(seen: dict[str, list[Scan]]) -> None:
    scans = [scan for path in PATHS for scan in seen[path]]
    assert {key(scan) for scan in scans if not scan.names_the_chat} == set(OF_ALL_CHATS)


@pytest.mark.parametrize("table", sorted(OF_CHATS))
def test_a_statement_that_does_not_is_found(seen: dict[str, list[Scan]], table: str) -> None:
    [scan] = [scan for scan in seen["of other chats"] if scan.table == table]
    assert not scan.names_the_chat
    assert key(scan) not in OF_ALL_CHATS


def test_every_table_is_of_chats_or_divided_by_nothing(migrated_database_url: str) -> None:
    rows = query(migrated_database_url, "SELECT relname FROM pg_stat_user_tables")
    ours = {table for (table,) in rows if not table.startswith(FOREIGN)}
    assert ours == OF_CHATS | set(UNDIVIDED)


def key(scan: Scan) -> tuple[str, str]:
    return scan.table, shape(scan.statement)
