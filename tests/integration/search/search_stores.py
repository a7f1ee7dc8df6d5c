"""A chat to search in, on real stores, and the indexer run by hand."""

import json
from dataclasses import dataclass, field
from typing import Any

import psycopg
import redis

from tests.polling import wait_until

TOKEN = "s" * 24


@dataclass
class SearchStores:
    """The stores of a search test, and the chat that it searches."""

    database: psycopg.Connection[Any]
    redis: redis.Redis
    chats: dict[int, int] = field(default_factory=dict)

    def add(self, *bodies: str, chat: int = 1) -> None:
        """Store messages with the next numbers of a chat."""
        chat_id = self.chat_id(chat)
        self.database.execute(
            "INSERT INTO messages (chat_id, number, body)"
            " SELECT %s, position + (SELECT count(*) FROM messages WHERE chat_id = %s), body"
            " FROM unnest(%s::text[]) WITH ORDINALITY AS bodies (body, position)",
            (chat_id, chat_id, list(bodies)),
        )

    def chat_id(self, number: int) -> int:
        if number not in self.chats:
            row = self.database.execute(
                "INSERT INTO chats (application_id, number)"
                " SELECT id, %s FROM applications WHERE access_token = %s RETURNING id",
                (number, TOKEN),
            ).fetchone()
            assert row is not None
            self.chats[number] = row[0]
        return self.chats[number]

    def update(self, number: int, body: str, chat: int = 1) -> None:
        self.database.execute(
            "UPDATE messages SET body = %s, version = version + 1"
            " WHERE chat_id = %s AND number = %s",
            (body, self.chat_id(chat), number),
        )

    def run_indexer(self, **options: Any) -> None:
        """Run the task's own function until nothing waits, with options of `keep_indexed`."""
        from crud_service.duties.lease import Lease, indexing
        from crud_service.search.feed.indexer import keep_indexed

        keep_indexed(self.redis, Lease(self.redis, indexing()), stay=False, **options)

    def index(self, **options: Any) -> None:
        """Run the indexer, and have Elasticsearch show what it got."""
        from django.conf import settings

        from crud_service.search.feed.attempts import back_off_of
        from crud_service.search.index import elasticsearch_index

        self.run_indexer(**options)
        url = settings.ELASTICSEARCH_URL
        if url and not back_off_of(url).remaining():
            elasticsearch_index.client().indices.refresh(index="messages", ignore_unavailable=True)

    def index_all(self, **options: Any) -> None:
        """`index` until nothing waits any more.

        The task may leave sooner: when its thread for Elasticsearch did not get to run for
        a while, or Elasticsearch was busy. Another task would follow within a second.
        """
        from crud_service.search.index.elasticsearch_index import has_elasticsearch

        def index() -> bool:
            self.index(**options)
            return not self.is_waiting(with_queue=has_elasticsearch())

        wait_until(index, 60, lambda: "changes were not indexed", pause=0.05)

    def is_waiting(self, *, with_queue: bool) -> bool:
        """Whether there are changes that an index lacks."""
        return self.count("search_outbox") + (self.count("search_queue") if with_queue else 0) > 0

    def refuse_numbers_above_127(self) -> None:
        """Replace the index by one with a mapping for which Elasticsearch refuses documents."""
        from crud_service.search.feed.start_over import start_over
        from crud_service.search.index.elasticsearch_index import alias, client, find_indices

        start_over(self.database)
        [index] = find_indices()
        indices = client().indices
        mapping = indices.get_mapping(index=index.name)[index.name]["mappings"]
        mapping["properties"]["number"] = {"type": "byte"}
        indices.delete(index=index.name)
        indices.create(
            index=index.name, mappings=mapping, aliases={alias(): {"is_write_index": True}}
        )

    def search(self, keyword: str, chat: int = 1, **options: Any) -> Any:
        from crud_service.search.query.search import SearchQuery, search_messages
        from web.problems import StoreUnavailable

        query = SearchQuery(keyword, **options)
        try:
            return search_messages(TOKEN, chat, query)
        except StoreUnavailable:
            # A machine may stand still for longer than PostgreSQL works on a statement.
            return search_messages(TOKEN, chat, query)

    def find(self, keyword: str, chat: int = 1, **options: Any) -> list[int]:
        """Numbers of the messages found."""
        return [item["number"] for item in items(self.search(keyword, chat, **options))]

    def count(self, table: str) -> int:
        row = self.database.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])


def items(page: Any) -> list[dict[str, Any]]:
    """The messages of a page."""
    found: list[dict[str, Any]] = json.loads(page.items)
    return found
