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

from crud_service.search.index.documents import form_query
from crud_service.search.index.doorbell import wake_indexer
from crud_service.search.index.elasticsearch_index import SEARCH_TIMEOUT_SECONDS, alias, client
from crud_service.search.query.plan import Hit, Level, Plan, forms
from crud_service.stores.circuit import Circuit

logger = logging.getLogger(__name__)
circuit = Circuit()

Search = dict[str, Any]

# Up to this many letters a part is likely to be in a good share of all messages.
COMMON_LETTERS = 3

API = "_msearch?filter_path=responses.status,responses.hits.hits.sort"
NDJSON = HttpHeaders({"content-type": "application/x-ndjson"})
# Half an answer is no answer: PostgreSQL has all of it.
HEAD = b'{"allow_partial_search_results":false}\n'


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
    if plan.ranked and len(plan.parts) == 1 and len(plan.parts[0].inside) <= COMMON_LETTERS:
        return search_tiers(plan)
    if plan.ranked:
        after = [plan.after.rank, plan.after.number] if plan.after else None
        order = [{"_score": "desc"}, {"number": "desc"}]
        (rows,) = ask([one_search(rank_query(plan), order, after, plan.limit)])
        return [Hit(int(score), number) for score, number in rows]
    order = in_chat("asc" if plan.ascending else "desc")
    after = [plan.chat_id, plan.after.number] if plan.after else None
    (rows,) = ask([one_search(rank_query(plan), order, after, plan.limit)])
    return [Hit(0, number) for _chat_id, number in rows]


def search_tiers(plan: Plan) -> list[Hit]:
    """The ranks of one part, each read by itself in the index's own order.

    A short part is in many messages: giving each a score takes longer than
    three searches that end with the page.
    """
    searches = []
    for rank in plan.tiers:
        after = None
        if plan.after and plan.after.rank == rank:
            after = [plan.chat_id, plan.after.number]
        searches.append(one_search(tier_query(plan, rank), in_chat("desc"), after, plan.limit))
    ranks: dict[int, int] = {}
    for rank, rows in zip(plan.tiers, ask(searches), strict=True):
        for _chat_id, number in rows:
            # What was changed between two of the searches can be in both.
            ranks.setdefault(number, rank)
    return [Hit(rank, number) for number, rank in ranks.items()][: plan.limit]


def one_search(
    query: Query, sort: list[dict[str, str]], after: list[int] | None, size: int
) -> Search:
    """A search for the sort values of the hits behind `after`, and nothing else of them."""
    return {
        "query": query.to_dict(),
        "sort": sort,
        "size": size,
        "_source": False,
        "stored_fields": "_none_",
        "track_total_hits": False,
        **({} if after is None else {"search_after": after}),
    }


def ask(searches: list[Search]) -> list[list[list[int]]]:
    """Several searches in one request; the sort values of the hits of each.

    It goes straight to the client's connections: what the client does around
    them for any request of any API takes longer than the rest of a search here.
    """
    node = client().transport.node_pool.get()
    lines = b"".join(HEAD + orjson.dumps(each) + b"\n" for each in searches)
    meta, body = node.perform_request(
        "POST",
        f"/{alias()}/{API}",
        body=lines,
        headers=NDJSON,
        request_timeout=SEARCH_TIMEOUT_SECONDS,
    )
    answers = orjson.loads(body)["responses"] if meta.status == HTTPStatus.OK else [{}]
    for answer in answers:
        status = answer.get("status", meta.status)
        if status != HTTPStatus.OK:
            error = NotFoundError if status == HTTPStatus.NOT_FOUND else ApiError
            raise error(f"a search was answered {status}", meta, body)
    return [[hit["sort"] for hit in answer.get("hits", {}).get("hits", [])] for answer in answers]


def in_chat(order: str) -> list[dict[str, str]]:
    """By number; newest first is the index's own order, in which a search can end early."""
    return [{"chat_id": "asc"}, {"number": order}]


def rank_query(plan: Plan) -> Query:
    """All parts inside; a point for each edge where the order asks for a rank."""
    edges = plan.edges if plan.ranked else []
    return Q(
        "bool",
        filter=[of_chat(plan), *(any_form(forms(part, Level.INSIDE)) for part in plan.parts)],
        should=[Q("constant_score", filter=any_form(edge)) for edge in edges],
    )


def tier_query(plan: Plan, rank: int) -> Query:
    """The only part at one level, and not at the next."""
    (part,) = plan.parts
    levels = [any_form(forms(part, level)) for level in Level]
    return Q(
        "bool",
        filter=[of_chat(plan), levels[rank]],
        must_not=levels[rank + 1 : rank + 2],
    )


def any_form(alternatives: tuple[str, ...]) -> Query:
    """The query for a part at a level: nearly always one form, else whichever is there."""
    queries = [form_query(form) for form in alternatives]
    return queries[0] if len(queries) == 1 else Q("bool", should=queries)


def of_chat(plan: Plan) -> Query:
    return Q("term", chat=str(plan.chat_id))


def describe(error: ApiError | TransportError) -> str:
    """An error of the client in one line, without what was searched for."""
    status = getattr(error, "status_code", "")
    return f"{type(error).__name__} {status}".strip()
