"""One search: by Elasticsearch if it answers, else by PostgreSQL, with the same semantics."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Literal, NamedTuple

import orjson

from crud_service.chat.filters import Filters
from crud_service.search.index.elasticsearch_index import has_elasticsearch
from crud_service.search.query import query_postgresql
from crud_service.search.query.cursors import decode_cursor, encode_cursor, search_scope
from crud_service.search.query.messages import Piece, SearchedChat, each_piece, find_chat
from crud_service.search.query.plan import Hit, Plan
from crud_service.search.text.folding import Part, split_parts
from crud_service.search.text.highlight import Budget, highlight
from crud_service.stores.database import Connection
from crud_service.stores.replica import read
from web.problems import NotFound

# A page ends early, after the piece of messages with which it reaches this size: each page is
# built in memory, and several are built concurrently.
MAX_PAGE_BYTES = 8_000_000

Sort = Literal["relevance", "number", "-number"]
Backend = Literal["elasticsearch", "postgresql"]


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """A search request; the caller has validated all fields but the cursor, checked here."""

    keyword: str
    limit: int = 100
    sort: Sort = "relevance"
    highlight: bool = False
    cursor: str | None = None
    filters: Filters = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Messages as a JSON array, and the cursor of the next page if there is one."""

    items: bytes
    next_cursor: str | None
    backend: Backend


def search_messages(access_token: str, chat_number: int, query: SearchQuery) -> SearchPage:
    """Return a page of the messages of a chat that match a keyword.

    Raises NotFound if the chat or its application does not exist, and ValidationFailed on the
    field `cursor` if no page of this search issued it.
    """
    return read(lambda connection: search(connection, access_token, chat_number, query))


def search(
    connection: Connection, access_token: str, chat_number: int, query: SearchQuery
) -> SearchPage:
    """Search a chat on a connection; see `search_messages`."""
    chat = find_chat(connection, access_token, chat_number)
    if chat is None:
        raise NotFound
    parts = split_parts(query.keyword)
    scope = search_scope(chat.chat_id, parts, query.sort, query.filters)
    found = find_hits(connection, chat, make_plan(chat, parts, query, scope))
    page = found.hits[: query.limit]
    pieces = each_piece(connection, chat.chat_id, [hit.number for hit in page])
    items, taken = join(pieces, parts if query.highlight else None)
    page = page[:taken] if taken else page
    more = len(page) < len(found.hits)
    return SearchPage(items, encode_cursor(page[-1], scope) if more else None, found.backend)


def make_plan(
    chat: SearchedChat, parts: tuple[Part, ...], query: SearchQuery, scope: bytes
) -> Plan:
    """Return the plan of a query; its limit is one higher, to see whether there is a next page."""
    return Plan(
        chat_id=chat.chat_id,
        parts=parts,
        limit=query.limit + 1,
        ranked=query.sort == "relevance",
        ascending=query.sort == "number",
        after=decode_cursor(query.cursor, scope) if query.cursor is not None else None,
        filters=query.filters,
    )


class Found(NamedTuple):
    hits: list[Hit]
    backend: Backend


def find_hits(connection: Connection, chat: SearchedChat, plan: Plan) -> Found:
    if chat.index_is_fresh and has_elasticsearch():
        # `wsgi` has imported it, where this runs in a process of its own.
        from crud_service.search.query import query_elasticsearch

        hits = query_elasticsearch.find_hits(plan)
        if hits is not None:
            return Found(hits, "elasticsearch")
    return Found(query_postgresql.find_hits(connection, plan, chat.blocks), "postgresql")


class Joined(NamedTuple):
    """Messages as a JSON array, and how many hits of the page they account for."""

    items: bytes
    taken: int


def join(pieces: Iterable[Piece], highlighted: tuple[Part, ...] | None) -> Joined:
    """Join the messages of a page.

    If `highlighted` (the parts of the keyword) is given, each message gets its highlight.
    The array is written to one buffer, which is returned without a copy, and ends early
    with the piece that takes it to MAX_PAGE_BYTES.
    """
    budget = Budget()
    taken = 0
    page = BytesIO()
    page.write(b"[")
    for piece in pieces:
        page.write(b"," if taken else b"")
        if highlighted is None:
            page.write(piece.messages.replace(b"\n", b","))
        else:
            for i, message in enumerate(piece.messages.split(b"\n")):
                page.write(b"," if i else b"")
                page.write(add_highlight(message, highlighted, budget))
        taken = piece.taken
        if page.tell() >= MAX_PAGE_BYTES:
            break
    page.write(b"]")
    return Joined(page.getvalue(), taken)


def add_highlight(message: bytes, parts: tuple[Part, ...], budget: Budget) -> bytes:
    marked = highlight(orjson.loads(message)["body"], parts, budget)
    return b'%s,"highlight":%s}' % (message[:-1], orjson.dumps(marked))
