"""One search: Elasticsearch when it answers, else PostgreSQL, with the same meaning."""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import orjson

from contract.problems import NotFound
from crud_service import database
from crud_service.search import query_elasticsearch, query_postgresql
from crud_service.search.cursors import decode_cursor, encode_cursor, search_scope
from crud_service.search.folding import Part, split_parts
from crud_service.search.highlight import Budget, highlight
from crud_service.search.messages import (
    Connection,
    SearchedChat,
    each_message,
    find_chat,
    find_messages,
)
from crud_service.search.plan import Hit, Plan

# A thousand messages of the greatest size are within it, if they need little escaping.
MAX_HIGHLIGHTED_BYTES = 160_000_000

Sort = Literal["relevance", "number", "-number"]
Backend = Literal["elasticsearch", "postgresql"]


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What is asked; the view has checked keyword, limit and sort, the cursor is checked here."""

    keyword: str
    limit: int = 100
    sort: Sort = "relevance"
    highlight: bool = False
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Messages as a JSON array, the cursor of the next page if there is one."""

    items: bytes
    next_cursor: str | None
    backend: Backend


def search_messages(access_token: str, chat_number: int, query: SearchQuery) -> SearchPage:
    """The messages of a chat that match a keyword.

    Raises NotFound when the chat, or its application, is not there, and
    ValidationFailed on the field `cursor` for one that no page gave out.
    """
    return database.run(lambda connection: search(connection, access_token, chat_number, query))


def search(
    connection: Connection, access_token: str, chat_number: int, query: SearchQuery
) -> SearchPage:
    """`search_messages` on a connection."""
    chat = find_chat(connection, access_token, chat_number)
    if chat is None:
        raise NotFound
    parts = split_parts(query.keyword)
    scope = search_scope(chat.chat_id, parts, query.sort)
    hits, backend = find_hits(connection, chat, make_plan(chat, parts, query, scope))
    page = hits[: query.limit]
    if query.highlight:
        found = each_message(connection, chat.chat_id, [hit.number for hit in page])
        items, last = join_highlighted(found, parts)
        if last is not None:
            page = page[: [hit.number for hit in page].index(last) + 1]
    else:
        items = find_messages(connection, chat.chat_id, [hit.number for hit in page])
    more = len(page) < len(hits)
    return SearchPage(items, encode_cursor(page[-1], scope) if more else None, backend)


def make_plan(
    chat: SearchedChat, parts: tuple[Part, ...], query: SearchQuery, scope: bytes
) -> Plan:
    """The plan of a query; its limit sees one hit further, to know if there is a next page."""
    return Plan(
        chat_id=chat.chat_id,
        parts=parts,
        limit=query.limit + 1,
        ranked=query.sort == "relevance",
        ascending=query.sort == "number",
        after=decode_cursor(query.cursor, scope) if query.cursor is not None else None,
    )


def find_hits(connection: Connection, chat: SearchedChat, plan: Plan) -> tuple[list[Hit], Backend]:
    """The hits, and who found them."""
    if chat.index_is_fresh:
        hits = query_elasticsearch.find_hits(plan)
        if hits is not None:
            return hits, "elasticsearch"
    return query_postgresql.find_hits(connection, plan, chat.blocks), "postgresql"


def join_highlighted(
    messages: Iterable[bytes], parts: tuple[Part, ...]
) -> tuple[bytes, int | None]:
    """Messages as a JSON array, with one key more each.

    It is written to one buffer, which is handed out without a copy. Escaping may make
    a body six times as long: a page that has become too large ends there, and the
    number of its last message is told.
    """
    budget = Budget()
    last: int | None = None
    page = BytesIO()
    page.write(b"[")
    for message in messages:
        if page.tell() > MAX_HIGHLIGHTED_BYTES:
            page.write(b"]")
            return page.getvalue(), last
        fields = orjson.loads(message)
        last = int(fields["number"])
        page.write(b"," if page.tell() > 1 else b"")
        page.write(message[:-1] + b',"highlight":')
        page.write(orjson.dumps(highlight(fields["body"], parts, budget)))
        page.write(b"}")
    page.write(b"]")
    return page.getvalue(), None
