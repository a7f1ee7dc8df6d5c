"""The index in Elasticsearch: its mapping, its names, and the client that reaches it."""

import secrets
import time
from functools import cache
from typing import Any

from django.conf import settings
from elasticsearch import Elasticsearch

from crud_service.search.http_node import HttpNode

ALIAS = "messages"
INDEX_PATTERN = f"{ALIAS}-*"

SEARCH_TIMEOUT_SECONDS = 1.0
WRITE_TIMEOUT_SECONDS = 30.0

# Everything is looked up in terms that Python cut (see `documents`), so all
# that Elasticsearch's analysis does is to split them at white space.
# `_source` leaves them out: an index is never filled from another one.
MAPPING: dict[str, Any] = {
    "dynamic": "strict",
    "_source": {"excludes": ["grams", "letters"]},
    "properties": {
        "chat": {"type": "keyword", "doc_values": False},
        "chat_id": {"type": "long", "index": False},
        "number": {"type": "long", "index": False},
        "message_id": {"type": "long"},
        "version": {"type": "long", "index": False, "doc_values": False},
        "digest": {"type": "keyword", "index": False, "doc_values": False},
        # In order, with positions: consecutive grams are a part of three letters or more.
        "grams": {"type": "text", "analyzer": "whitespace", "norms": False},
        # Grams of one or two letters, where only their presence counts.
        "letters": {
            "type": "text",
            "analyzer": "whitespace",
            "norms": False,
            "index_options": "docs",
        },
    },
}

# Sorted like a page of a chat, so that a search ends as soon as its page is
# full. An explicit refresh interval keeps idle shards refreshing: without one
# the first search after an idle while would wait for, or miss, the newest.
SETTINGS: dict[str, Any] = {
    "number_of_shards": 1,
    "refresh_interval": "500ms",
    # A document that was deleted may come back with any version (`check_index --repair`).
    "gc_deletes": "0s",
    # A search looks into each segment, so a few large ones are worth more merging: with
    # the defaults a million messages lay in 30 segments, and a search took half as long again.
    "merge.policy.floor_segment": "64mb",
    "merge.policy.segments_per_tier": 4,
    "sort.field": ["chat_id", "number"],
    "sort.order": ["asc", "desc"],
}


@cache
def client() -> Elasticsearch:
    """The client: one node or load balancer, asked once, with no retries of its own."""
    return Elasticsearch(
        settings.ELASTICSEARCH_URL,
        request_timeout=WRITE_TIMEOUT_SECONDS,
        max_retries=0,
        retry_on_timeout=False,
        node_class=HttpNode,
    )


def close_client() -> None:
    """Close the client's connections; the next use opens new ones."""
    if client.cache_info().currsize:
        client().close()
        client.cache_clear()


def new_index_name() -> str:
    """A name for an index, that sorts by the time it was made."""
    return f"{ALIAS}-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def create_index(name: str, *, aliased: bool) -> None:
    """Make an empty index, the alias's own or one beside it."""
    client().indices.create(
        index=name,
        mappings=MAPPING,
        settings={
            "index": {**SETTINGS, "number_of_replicas": settings.ELASTICSEARCH_REPLICAS},
        },
        aliases={ALIAS: {"is_write_index": True}} if aliased else None,
        wait_for_active_shards=1,
    )


def swap_alias(new: str, old: list[str]) -> None:
    """Let the alias lead to another index, and remove the old one, in one atomic step."""
    removals = [{"remove_index": {"index": index}} for index in old]
    client().indices.update_aliases(
        actions=[{"add": {"index": new, "alias": ALIAS, "is_write_index": True}}, *removals]
    )


def remove_index(name: str) -> None:
    """Remove an index if it is there."""
    client().indices.delete(index=name, ignore_unavailable=True)


def aliased_indices() -> list[str]:
    """The indices behind the alias: one, or none when Elasticsearch is new or was wiped."""
    found = client().indices.get(index=ALIAS, ignore_unavailable=True, features="aliases")
    return sorted(found.body)


def all_indices() -> list[str]:
    """Every index of messages, those being built included."""
    return sorted(client().indices.get(index=INDEX_PATTERN, features="aliases").body)
