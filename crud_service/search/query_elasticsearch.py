"""Finds the messages of a chat that match, in Elasticsearch.

One request: what must match filters, edges score one point each, so that the
score is the rank. Nothing is fetched but the sort values, which are the hit.
"""

import logging
from typing import Any

from django.conf import settings
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
    response = (
        client()
        .options(request_timeout=SEARCH_TIMEOUT_SECONDS)
        .search(
            index=ALIAS,
            query=make_query(plan).to_dict(),
            sort=sort_order(plan),
            search_after=search_after(plan),
            size=plan.limit,
            source=False,
            stored_fields="_none_",
            track_total_hits=False,
            # Half an answer is no answer: PostgreSQL has all of it.
            allow_partial_search_results=False,
            filter_path="hits.hits.sort",
        )
    )
    hits = response.body.get("hits", {}).get("hits", [])
    return [read_hit(plan, hit["sort"]) for hit in hits]


def make_query(plan: Plan) -> Query:
    """All parts inside; a point for each edge where the order asks for a rank."""
    edges = plan.edges if plan.ranked else []
    return Q(
        "bool",
        filter=[Q("term", chat=str(plan.chat_id)), *(form_query(p.inside) for p in plan.parts)],
        should=[Q("constant_score", filter=form_query(edge)) for edge in edges],
    )


def sort_order(plan: Plan) -> list[dict[str, str]]:
    """Rank, then newest first; without ranks the index's own order, which can end early."""
    if plan.ranked:
        return [{"_score": "desc"}, {"number": "desc"}]
    return [{"chat_id": "asc"}, {"number": "asc" if plan.ascending else "desc"}]


def search_after(plan: Plan) -> list[Any] | None:
    """The sort values of the last hit of the page before."""
    if plan.after is None:
        return None
    return [plan.after.rank if plan.ranked else plan.chat_id, plan.after.number]


def read_hit(plan: Plan, sort: list[Any]) -> Hit:
    """A hit from its sort values."""
    return Hit(int(sort[0]) if plan.ranked else 0, sort[1])


def describe(error: ApiError | TransportError) -> str:
    """An error of the client in one line, without what was searched for."""
    status = getattr(error, "status_code", "")
    return f"{type(error).__name__} {status}".strip()
