"""Finds the matching messages of a chat in Elasticsearch.

Required conditions are filters and each edge scores one point, so the score is the
rank. Only the sort values are fetched: they are the hit.
"""

import logging
from http import HTTPStatus
from itertools import islice
from typing import Any

import orjson
from django.conf import settings
from elastic_transport import ApiResponseMeta, HttpHeaders
from elasticsearch import ApiError, NotFoundError, TransportError
from elasticsearch.dsl import Q
from elasticsearch.dsl.query import Query

from crud_service.chat.filters import CREATED_AFTER, CREATED_BEFORE, SENDER, milliseconds
from crud_service.search.index.documents import form_query
from crud_service.search.index.doorbell import wake_indexer
from crud_service.search.index.elasticsearch_index import SEARCH_TIMEOUT_SECONDS, alias, client
from crud_service.search.query.plan import Hit, Level, Plan, forms
from crud_service.stores.circuit import circuit_of

logger = logging.getLogger(__name__)

Search = dict[str, Any]

# A part of at most this many letters probably occurs in a large share of all messages.
COMMON_LETTERS = 3

API = "_msearch?filter_path=responses.status,responses.error.type,responses.hits.hits.sort"
NDJSON = HttpHeaders({"content-type": "application/x-ndjson"})
# A partial result counts as a failure: PostgreSQL can give the complete one.
HEAD = b'{"allow_partial_search_results":false}\n'


def find_hits(plan: Plan) -> list[Hit] | None:
    """Return the first hits of a plan, or None if Elasticsearch is unavailable or not ready."""
    circuit = circuit_of(__name__, settings.ELASTICSEARCH_URL)
    if not circuit.may_ask():
        return None
    try:
        hits = search(plan)
    except (ApiError, TransportError) as error:
        circuit.failed()
        logger.warning("searching in PostgreSQL", extra={"reason": describe(error)})
        if isinstance(error, NotFoundError):
            wake_indexer()  # it creates the missing index
        return None
    circuit.succeeded()
    return hits


def search(plan: Plan) -> list[Hit]:
    """Return the first hits of a plan; raise ApiError or TransportError if the search fails."""
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
    """Search for a single part with one query per rank, each in the index's own sort order.

    A short part occurs in many messages: scoring all of them takes longer than
    three searches that stop once the page is full.
    """
    (part,) = plan.parts
    required = limits(plan)
    levels = [any_form(forms(part, level)) for level in Level]
    searches = []
    for rank in plan.tiers:
        after = None
        if plan.after and plan.after.rank == rank:
            after = [plan.chat_id, plan.after.number]
        # The part matches at this level, but not at the next one.
        filters, must_not = [*required, levels[rank]], levels[rank + 1 : rank + 2]
        tier = Q("bool", filter=filters, must_not=must_not)
        searches.append(one_search(tier, in_chat("desc"), after, plan.limit))
    ranks: dict[int, int] = {}
    for rank, rows in zip(plan.tiers, ask(searches), strict=True):
        for _chat_id, number in rows:
            # A message that changes between two of the searches can be a hit of both.
            ranks.setdefault(number, rank)
        if len(ranks) >= plan.limit:
            break
    return [Hit(rank, number) for number, rank in islice(ranks.items(), plan.limit)]


def one_search(
    query: Query, sort: list[dict[str, str]], after: list[int] | None, size: int
) -> Search:
    """Build a search that returns only the sort values of the `size` hits that follow `after`."""
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
    """Send several searches in one request and return the sort values of the hits of each.

    Raises ApiError or TransportError if one of them fails.

    This uses the client's connections directly: the client's generic request handling
    takes longer than the rest of a search here.
    """
    node = client().transport.node_pool.get()
    lines = b"".join(HEAD + orjson.dumps(request) + b"\n" for request in searches)
    meta, body = node.perform_request(
        "POST",
        f"/{alias()}/{API}",
        body=lines,
        headers=NDJSON,
        request_timeout=SEARCH_TIMEOUT_SECONDS,
    )
    if meta.status != HTTPStatus.OK:
        raise refusal(meta, body, {"status": meta.status, "error": error_of(body)})
    try:
        answers = orjson.loads(body)["responses"]
        for answer, _ in zip(answers, searches, strict=True):
            if answer.get("status", HTTPStatus.OK) != HTTPStatus.OK:
                raise refusal(meta, body, answer)
        return [
            [hit["sort"] for hit in answer.get("hits", {}).get("hits", [])] for answer in answers
        ]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        # Such as the login page of a proxy.
        raise ApiError(f"{meta.status} without results", meta, body) from error


def refusal(meta: ApiResponseMeta, body: bytes, answer: Search) -> ApiError:
    """Return the error of a search, or of a whole request, that was not answered with 200."""
    status, error = answer["status"], answer.get("error") or {}
    error_class = NotFoundError if status == HTTPStatus.NOT_FOUND else ApiError
    return error_class(f"{status} {error.get('type', '')}".strip(), meta, body)


def error_of(body: bytes) -> Search:
    """Return the error of a request, empty if a proxy and not Elasticsearch has answered it."""
    try:
        error = orjson.loads(body)["error"]
    except (ValueError, LookupError, TypeError):
        return {}
    return error if isinstance(error, dict) else {}


def in_chat(order: str) -> list[dict[str, str]]:
    """Sort by number. Newest first is the index's own order, so a search can terminate early."""
    return [{"chat_id": "asc"}, {"number": order}]


def rank_query(plan: Plan) -> Query:
    """Require every part inside the text; if the order needs a rank, score a point per edge."""
    edges = plan.edges if plan.ranked else []
    return Q(
        "bool",
        filter=[*limits(plan), *(any_form(forms(part, Level.INSIDE)) for part in plan.parts)],
        should=[Q("constant_score", filter=any_form(edge)) for edge in edges],
    )


def any_form(alternatives: tuple[str, ...]) -> Query:
    queries = [form_query(form) for form in alternatives]
    return queries[0] if len(queries) == 1 else Q("bool", should=queries)


def limits(plan: Plan) -> list[Query]:
    """Limit a search to the chat, and to what passes the filters."""
    queries = [Q("term", chat=str(plan.chat_id))]
    if SENDER in plan.filters:
        queries.append(Q("term", sender=plan.filters[SENDER]))
    if CREATED_AFTER in plan.filters:
        queries.append(Q("range", created_at={"gt": milliseconds(plan.filters[CREATED_AFTER])}))
    if CREATED_BEFORE in plan.filters:
        queries.append(Q("range", created_at={"lt": milliseconds(plan.filters[CREATED_BEFORE])}))
    return queries


def describe(error: ApiError | TransportError) -> str:
    """Describe an error without its reason, which may quote the keyword."""
    return f"{type(error).__name__} {error.message if isinstance(error, ApiError) else ''}".strip()
