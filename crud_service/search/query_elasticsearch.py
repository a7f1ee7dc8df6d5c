"""Finds the messages of a chat that match, in Elasticsearch.

What must match filters, edges score one point each, so that the score is the
rank. Nothing is fetched but the sort values, which are the hit.
"""

import logging
from http import HTTPStatus
from typing import Any

import orjson
from django.conf import settings
from elastic_transport import HttpHeaders
from elasticsearch import ApiError, NotFoundError, TransportError
from elasticsearch.dsl import Q
from elasticsearch.dsl.query import Query

from crud_service.search.circuit import Circuit
from crud_service.search.documents import form_query
from crud_service.search.elasticsearch_index import ALIAS, SEARCH_TIMEOUT_SECONDS, client
from crud_service.search.plan import Hit, Plan
from crud_service.search.wake_up import wake_indexer

logger = logging.getLogger(__name__)
circuit = Circuit()

# Half an answer is no answer: PostgreSQL has all of it.
TARGET = f"/{ALIAS}/_search?allow_partial_search_results=false&filter_path=hits.hits.sort"
JSON = HttpHeaders({"content-type": "application/json"})
BARE = {"_source": False, "stored_fields": "_none_", "track_total_hits": False}


def find_hits(plan: Plan) -> list[Hit] | None:
    """The first hits of a plan, or None when Elasticsearch is absent, away or not ready."""
    if not settings.ELASTICSEARCH_URL or not circuit.may_ask():
        return None
    try:
        hits = search(plan)
    except (ApiError, TransportError) as error:
        circuit.failed()
        logger.warning("searching in PostgreSQL", extra={"reason": describe(error)})
        if isinstance(error, NotFoundError):
            wake_indexer()  # which makes the index that is missing
        return None
    circuit.succeeded()
    return hits


def search(plan: Plan) -> list[Hit]:
    """`find_hits` by an Elasticsearch that answers."""
    if plan.ranked and len(plan.parts) == 1 and len(plan.parts[0].inside) == 1:
        return search_tiers(plan)
    if plan.ranked:
        after = [plan.after.rank, plan.after.number] if plan.after else None
        rows = ask(rank_query(plan), [{"_score": "desc"}, {"number": "desc"}], after, plan.limit)
        return [Hit(int(score), number) for score, number in rows]
    order = "asc" if plan.ascending else "desc"
    after = [plan.chat_id, plan.after.number] if plan.after else None
    rows = ask(rank_query(plan), in_chat(order), after, plan.limit)
    return [Hit(0, number) for _chat_id, number in rows]


def search_tiers(plan: Plan) -> list[Hit]:
    """Read the ranks of one part one by one, each in the index's own order.

    A single letter is in nearly every message: giving each a score takes
    longer than two or three searches that end with the page.
    """
    hits: list[Hit] = []
    for rank in plan.tiers:
        after = None
        if plan.after and plan.after.rank == rank:
            after = [plan.chat_id, plan.after.number]
        rows = ask(tier_query(plan, rank), in_chat("desc"), after, plan.limit - len(hits))
        hits += [Hit(rank, number) for _chat_id, number in rows]
        if len(hits) == plan.limit:
            break
    return hits


def ask(
    query: Query, sort: list[dict[str, str]], after: list[int] | None, size: int
) -> list[list[int]]:
    """One request: the sort values of the hits behind `after`, and nothing else of them.

    It goes straight to the client's connections: what the client does around
    them for any request of any API takes longer than the rest of a search here.
    """
    wanted: dict[str, Any] = {"query": query.to_dict(), "sort": sort, "size": size, **BARE}
    if after is not None:
        wanted["search_after"] = after
    meta, body = (
        client()
        .transport.node_pool.get()
        .perform_request(
            "POST",
            TARGET,
            body=orjson.dumps(wanted),
            headers=JSON,
            request_timeout=SEARCH_TIMEOUT_SECONDS,
        )
    )
    if meta.status == HTTPStatus.NOT_FOUND:
        raise NotFoundError("there is no index", meta, body)
    if meta.status != HTTPStatus.OK:
        raise ApiError("the search failed", meta, body)
    return [hit["sort"] for hit in orjson.loads(body).get("hits", {}).get("hits", [])]


def in_chat(order: str) -> list[dict[str, str]]:
    """By number; newest first is the index's own order, in which a search can end early."""
    return [{"chat_id": "asc"}, {"number": order}]


def rank_query(plan: Plan) -> Query:
    """All parts inside; a point for each edge where the order asks for a rank."""
    edges = plan.edges if plan.ranked else []
    return Q(
        "bool",
        filter=[of_chat(plan), *(form_query(part.inside) for part in plan.parts)],
        should=[Q("constant_score", filter=form_query(edge)) for edge in edges],
    )


def tier_query(plan: Plan, rank: int) -> Query:
    """The only part at one level, and not at the next."""
    (part,) = plan.parts
    levels = [part.inside, part.start, part.whole]
    return Q(
        "bool",
        filter=[of_chat(plan), form_query(levels[rank])],
        must_not=[form_query(level) for level in levels[rank + 1 : rank + 2]],
    )


def of_chat(plan: Plan) -> Query:
    return Q("term", chat=str(plan.chat_id))


def describe(error: ApiError | TransportError) -> str:
    """An error of the client in one line, without what was searched for."""
    status = getattr(error, "status_code", "")
    return f"{type(error).__name__} {status}".strip()
