"""Writes documents to Elasticsearch in bulk, and reads the outcome of each.

A request that is refused as a whole, for its size or because Elasticsearch is overloaded,
is sent again in halves, so that one document cannot block the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import orjson
from elasticsearch import ApiError

from crud_service.search.index.documents import make_document
from crud_service.search.index.elasticsearch_index import SHARD_TIMEOUT, client, no_answer
from crud_service.search.text.texts import Text

# Far below the limit of Elasticsearch (100 MB), which holds a request in memory.
MAX_BULK_BYTES = 8_000_000
# The maximum number of divisions of a refused request, those of its parts included.
MAX_DIVISIONS = 40
# Statuses that may be due to the content of a request or to its size.
DIVIDED = {400, 413, 429, 500}
# Elasticsearch has no room or no shard at the moment, whatever the document is.
OVERLOADED = {429, 503}
# Is answered with 400, and yet the document is not the cause.
INDEX_CLOSED = "index_closed_exception"
# Of the reason for a refusal.
MOST_CHARACTERS = 1000
# Higher than any version, so that no late copy can bring back the document of a deleted message.
GONE_VERSION = 2**62
NDJSON = {"content-type": "application/x-ndjson", "accept": "application/json"}


class IndexGone(Exception):
    """The index was removed while it was written to."""


@dataclass(slots=True)
class Outcome:
    """The outcome of a bulk: message ids to retry, and those refused with the reason.

    `overloaded` are those to retry that say nothing against their documents, `retry_reason`
    is that of the first to retry: a status and a type of error, or what a proxy answered.
    """

    retry: set[int] = field(default_factory=set)
    overloaded: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    retry_reason: str = ""

    def add(self, other: "Outcome") -> None:
        self.retry |= other.retry
        self.overloaded |= other.overloaded
        self.refused |= other.refused
        self.retry_reason = self.retry_reason or other.retry_reason


class Operation(NamedTuple):
    """A message's part of a bulk: the action, and its document if it has one."""

    message_id: int
    lines: bytes


class Post(Protocol):
    """Sends a bulk as one request."""

    def __call__(self, operations: Sequence[Operation], *, refresh: bool) -> Outcome: ...


def write_documents(
    index: str, texts: Sequence[Text], gone: Sequence[int] = (), *, refresh: bool = False
) -> Outcome:
    """Index whole documents, and delete those of deleted messages.

    External versions make it safe to send anything twice and in any order. A copy with
    the same version replaces the stored one, so that a damaged document can be repaired.

    Args:
        index: its name.
        texts: what to index.
        gone: ids of deleted messages.
        refresh: whether the changes are to be searchable when this returns, instead of after the
            next refresh of the index.

    Returns:
        What became of each message.
    """
    outcome = Outcome()
    for operations in bulks(index, texts, gone):
        outcome.add(send(operations, refresh=refresh))
    return outcome


def bulks(index: str, texts: Sequence[Text], gone: Sequence[int]) -> Iterator[list[Operation]]:
    """Yield the operations of one request of at most MAX_BULK_BYTES at a time, made lazily."""
    operations: list[Operation] = []
    size = 0
    for operation in make_operations(index, texts, gone):
        if operations and size + len(operation.lines) > MAX_BULK_BYTES:
            yield operations
            operations, size = [], 0
        operations.append(operation)
        size += len(operation.lines)
    if operations:
        yield operations


def make_operations(index: str, texts: Sequence[Text], gone: Sequence[int]) -> Iterator[Operation]:
    for message_id in gone:
        yield Operation(message_id, action("delete", index, message_id, GONE_VERSION))
    for text in texts:
        head = action("index", index, text.message_id, text.version)
        yield Operation(text.message_id, head + make_document(text) + b"\n")


def delete_documents(index: str, message_ids: Sequence[int]) -> None:
    """Delete documents without a version, so that they can be indexed again.

    That works once a refresh has dropped the versions that the deletions leave.
    """
    send([Operation(id, action("delete", index, id)) for id in message_ids])


def send(
    operations: Sequence[Operation],
    divisions: Iterator[int] | None = None,
    *,
    refresh: bool = False,
    post: Post | None = None,
) -> Outcome:
    """Send a bulk; if it is refused as a whole, send its halves.

    Args:
        operations: the parts of the bulk, at least one.
        divisions: yields once for each division that is still allowed; None: MAX_DIVISIONS.
        refresh: whether the changes are to be searchable when this returns.
        post: sends a bulk as one request; None: to Elasticsearch.

    Returns:
        What became of each message. Raises ApiError for a refusal that no division can mend.
    """
    divisions = iter(range(MAX_DIVISIONS)) if divisions is None else divisions
    try:
        return (post or send_once)(operations, refresh=refresh)
    except ApiError as error:
        if error.status_code not in DIVIDED:
            raise
        if len(operations) == 1 or next(divisions, None) is None:
            return blame(operations, error)
    middle = len(operations) // 2
    outcome = send(operations[:middle], divisions, refresh=refresh, post=post)
    outcome.add(send(operations[middle:], divisions, refresh=refresh, post=post))
    return outcome


def blame(operations: Sequence[Operation], error: ApiError) -> Outcome:
    ids = [operation.message_id for operation in operations]
    reason = f"{error.status_code} {error.message}"[:MOST_CHARACTERS]
    if len(ids) == 1 and error.status_code in (400, 413):
        return Outcome(refused={ids[0]: reason})
    return Outcome(
        retry=set(ids),
        overloaded=set(ids) if error.status_code in OVERLOADED else set(),
        retry_reason=reason,
    )


def send_once(operations: Sequence[Operation], *, refresh: bool) -> Outcome:
    response = client().perform_request(
        "POST",
        f"/_bulk?refresh={str(refresh).lower()}&pipeline=_none&timeout={SHARD_TIMEOUT}"
        "&filter_path=items.*.status,items.*.error,items.*._id",
        headers=NDJSON,
        body=b"".join(operation.lines for operation in operations),
    )
    items = response.body.get("items") if isinstance(response.body, dict) else None
    if not isinstance(items, list) or len(items) != len(operations):
        raise no_answer(response)
    return read_outcome(items)


def action(kind: str, index: str, message_id: int, version: int | None = None) -> bytes:
    meta: dict[str, object] = {"_index": index, "_id": str(message_id)}
    if version is not None:
        meta |= {"version": version, "version_type": "external_gte"}
    return orjson.dumps({kind: meta}) + b"\n"


def read_outcome(items: Sequence[dict[str, dict[str, object]]]) -> Outcome:
    """Sort the items of a response into done, to be retried, and refused for good (400, 413).

    409 means that a newer version is already indexed, 404 that the document to delete
    was never indexed: both count as done. What a closed index refuses waits until it is
    open. Raises IndexGone if the index does not exist: Elasticsearch must not create it
    (`action.auto_create_index`, see docs/operations.md).
    """
    outcome = Outcome()
    for item in items:
        ((_kind, result),) = item.items()
        status, message_id = int(str(result["status"])), int(str(result["_id"]))
        error = result.get("error")
        found = error if isinstance(error, dict) else {}
        kind = found.get("type")
        if kind == "index_not_found_exception":
            raise IndexGone(str(found.get("index")))
        elif status in (400, 413) and kind != INDEX_CLOSED:
            reason = f"{status} {orjson.dumps(error).decode()}"
            outcome.refused[message_id] = reason[:MOST_CHARACTERS]
        elif status >= 400 and status not in (404, 409):
            outcome.retry.add(message_id)
            outcome.retry_reason = outcome.retry_reason or f"{status} {kind}"
            if status in OVERLOADED or kind == INDEX_CLOSED:
                outcome.overloaded.add(message_id)
    return outcome
