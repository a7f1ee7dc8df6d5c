"""Writes documents to Elasticsearch in bulk, and reads what became of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from crud_service.search.documents import make_document
from crud_service.search.elasticsearch_index import client
from crud_service.search.texts import Text

# Far below what Elasticsearch takes (100 MB), since it holds a request in memory.
MAX_BULK_BYTES = 8_000_000
NDJSON = {"content-type": "application/x-ndjson", "accept": "application/json"}


class IndexGone(Exception):
    """The index was removed while it was written to."""


@dataclass(slots=True)
class Outcome:
    """What became of a bulk: message ids by what is to be done about them."""

    retry: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)

    def add(self, other: "Outcome") -> None:
        """Count in what became of the same documents in another index."""
        self.retry |= other.retry
        self.refused |= other.refused


def write_documents(index: str, texts: Sequence[Text], gone: Sequence[int] = ()) -> Outcome:
    """Index whole documents and delete those of messages that are gone.

    External versions make it safe to send anything twice and in any order; a copy
    of the same version replaces what is there, so that a damaged one can be mended.
    """
    outcome = Outcome()
    lines: list[bytes] = [action("delete", index, message_id) for message_id in gone]
    size = 0
    for text in texts:
        lines.append(action("index", index, text.message_id, text.version))
        lines.append(make_document(text))
        size += len(lines[-1])
        if size > MAX_BULK_BYTES:
            outcome.add(send(lines))
            lines, size = [], 0
    if lines:
        outcome.add(send(lines))
    return outcome


def send(lines: Sequence[bytes]) -> Outcome:
    """Send one bulk request."""
    response = client().perform_request(
        "POST",
        "/_bulk?filter_path=items.*.status,items.*.error,items.*._id",
        headers=NDJSON,
        body=b"\n".join([*lines, b""]),
    )
    return read_outcome(response.body.get("items", []))


def action(kind: str, index: str, message_id: int, version: int | None = None) -> bytes:
    """The line before a document."""
    meta: dict[str, object] = {"_index": index, "_id": str(message_id)}
    if version is not None:
        meta |= {"version": version, "version_type": "external_gte"}
    return orjson.dumps({kind: meta})


def read_outcome(items: Sequence[dict[str, dict[str, object]]]) -> Outcome:
    """Look at every item: done, worth another try, or refused for what it is (400).

    409 says that a newer version is there already, 404 that a message to
    delete never came: both are as good as done.
    """
    outcome = Outcome()
    for item in items:
        ((_kind, result),) = item.items()
        status, message_id = int(str(result["status"])), int(str(result["_id"]))
        error = result.get("error")
        if isinstance(error, dict) and error.get("type") == "index_not_found_exception":
            raise IndexGone(str(error.get("index")))
        elif status == 400:
            outcome.refused[message_id] = f"{status} {orjson.dumps(error).decode()}"[:1000]
        elif status >= 400 and status not in (404, 409):
            outcome.retry.add(message_id)
    return outcome
