"""The index in Elasticsearch: its mapping, its names, its owner, and the client to access it.

Several stacks may share an Elasticsearch. Searches go to an alias, `SEARCH_INDEX`, which
points to one index, `<SEARCH_INDEX>-<time>-<random>`. The mapping of an index names the
stack that created it (`_meta.stack`, from `search_state`), and no other stack writes to it or
removes it. An alias that points to another stack's index is left alone: an alias can
have only one write index, so of two stacks with the same name one is refused.

Importing the client's package takes half a second. So this module does without until a client is
asked for, and whatever needs the package at its top is imported only where there is an
Elasticsearch: `search.query.query_elasticsearch` and `search.feed.attempts`.
"""

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings

if TYPE_CHECKING:
    from elastic_transport import ApiResponse
    from elasticsearch import ApiError, Elasticsearch

# What follows the prefix. A prefix cannot end like this (see `settings`), so no stack's
# indexes look like those of a stack with a longer prefix.
NAME_SUFFIX = re.compile(r"-\d{14}-[0-9a-f]{4}")

# Raise it with every change to the mapping or to the documents: the index is
# then started over automatically.
INDEX_FORMAT = 3

SEARCH_TIMEOUT_SECONDS = 1.0
WRITE_TIMEOUT_SECONDS = 30.0
# How long Elasticsearch waits for an active shard. Less than the client's timeout: its answer says
# that an index was created, and distinguishes an unassigned shard from an unresponsive server.
SHARD_TIMEOUT = "10s"

# All terms are cut by Python (see `documents`), so Elasticsearch's analysis only
# splits them at white space. `_source` can do without them, since an index is never
# filled from another one.
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
        "sender": {"type": "keyword", "doc_values": False},
        # Filters a search that has found something: values of the documents will do.
        "created_at": {"type": "long", "index": False},
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

GC_DELETES = "1h"

# Sorted like a page of a chat, so that a search terminates as soon as its page is
# full. An explicit refresh interval keeps idle shards refreshing: without one, the
# first search after an idle period would wait for the newest messages, or miss them.
SETTINGS: dict[str, Any] = {
    "number_of_shards": 1,
    "refresh_interval": "500ms",
    # How long the version of a deleted document is kept: a process that was frozen before it
    # sent an older copy must not bring the document back.
    "gc_deletes": GC_DELETES,
    # An index template of an operator may name one for every index. It could drop documents or
    # refuse them all; bulk requests bypass the default pipeline, but cannot bypass this one.
    "final_pipeline": "_none",
    # A search visits each segment, so having few large ones is worth more merging. Even fewer
    # (4 per tier) made no search faster, and a document up to a fifth more expensive.
    "merge.policy.floor_segment": "64mb",
    "merge.policy.segments_per_tier": 8,
    "sort.field": ["chat_id", "number"],
    "sort.order": ["asc", "desc"],
}


def has_elasticsearch() -> bool:
    """Return whether this stack has an Elasticsearch, available or not."""
    return bool(settings.ELASTICSEARCH_URL)


def client() -> "Elasticsearch":
    """Return the client of the configured Elasticsearch, which all threads share."""
    return client_of(settings.ELASTICSEARCH_URL)


@cache
def client_of(url: str) -> "Elasticsearch":
    from elasticsearch import Elasticsearch

    from crud_service.search.index.http_node import HttpNode

    return Elasticsearch(
        url,
        request_timeout=WRITE_TIMEOUT_SECONDS,
        max_retries=0,
        retry_on_timeout=False,
        node_class=HttpNode,
    )


@dataclass(frozen=True, slots=True)
class Index:
    """An index with our prefix or behind our alias, no matter which stack created it."""

    name: str
    stack: str | None  # None: created by a version that did not record it
    index_format: int
    aliased: bool


def alias() -> str:
    """Return the alias that searches go to."""
    return str(settings.SEARCH_INDEX)


def new_index_name() -> str:
    """Return a name for a new index; names sort by their time of creation."""
    return f"{alias()}-{time.strftime('%Y%m%d%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def is_index_name(name: str) -> bool:
    """Return whether an index of this name has exactly our prefix, and not a longer one."""
    return name.startswith(alias()) and bool(NAME_SUFFIX.fullmatch(name[len(alias()) :]))


def create_index(name: str, stack: str) -> None:
    """Create an empty index without an alias; raise ApiError or TransportError if that fails."""
    meta = {"stack": stack, "format": INDEX_FORMAT}
    created = client().indices.create(
        index=name,
        mappings={"_meta": meta, **MAPPING},
        settings={
            "index": {**SETTINGS, "number_of_replicas": settings.ELASTICSEARCH_REPLICAS},
        },
        wait_for_active_shards=1,
        timeout=SHARD_TIMEOUT,
    )
    if not isinstance(created.body, dict) or "acknowledged" not in created.body:
        raise no_answer(created)


def no_answer(response: "ApiResponse[Any]") -> "ApiError":
    """Return the error of an answer that is not Elasticsearch's, such as the page of a proxy."""
    from elasticsearch import ApiError

    return ApiError("no answer of Elasticsearch", response.meta, response.body)


def swap_alias(new: str, old: Sequence[str]) -> None:
    """Point the alias to another index and remove the old ones, in one atomic step.

    Elasticsearch refuses this if the alias also points to an index that is not removed.
    """
    removals = [{"remove_index": {"index": index}} for index in old]
    client().indices.update_aliases(
        actions=[{"add": {"index": new, "alias": alias(), "is_write_index": True}}, *removals]
    )


def remove_index(name: str) -> None:
    """Remove an index; one that is gone already is fine."""
    client().indices.delete(index=name, ignore_unavailable=True)


def find_indices() -> list[Index]:
    """Return every index with our prefix or behind our alias, even those of other stacks.

    Raises ApiError or TransportError.
    """
    found = client().indices.get(
        index=f"{alias()},{alias()}-*", ignore_unavailable=True, features="aliases,mappings"
    )
    bodies = found.body if isinstance(found.body, dict) else {"": found.body}
    if not all(isinstance(body, dict) and "aliases" in body for body in bodies.values()):
        raise no_answer(found)
    indices = [read_index(name, body) for name, body in bodies.items()]
    return sorted(
        (index for index in indices if index.aliased or is_index_name(index.name)),
        key=lambda index: index.name,
    )


def read_index(name: str, body: dict[str, Any]) -> Index:
    meta = body.get("mappings", {}).get("_meta", {})
    # An index may have the alias's very name, if there was no alias when it was created.
    aliased = name == alias() or alias() in body["aliases"]
    return Index(name, meta.get("stack"), meta.get("format", 0), aliased)
