"""Compares `messages` with what search has made of them, a page at a time, and mends it.

All three are read in the order of message ids, in slices that a page of
messages bounds, so that memory does not grow with the tables. What differs is
looked at again after a refresh: while the system runs, a change may have
overtaken us between two reads. What still waits to be indexed is no difference.
"""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from crud_service.search.documents import digest
from crud_service.search.elasticsearch_index import ALIAS, client
from crud_service.search.folding import mark
from crud_service.search.refold import FIND_OUTDATED

Connection = psycopg.Connection[tuple[Any, ...]]
# What is compared of a message: chat id, number, version, digest of its marked text.
Facts = tuple[int, int, int, str]

PAGE = 2000
MAX_ID = 2**63 - 1
# Longer than a refresh takes, and than the indexer lets a change wait.
SETTLE_SECONDS = 2.0

READ_MESSAGES = """
SELECT id, chat_id, number, version, body FROM messages
WHERE id > %s AND id <= %s ORDER BY id LIMIT %s
"""
READ_TEXTS = """
SELECT text.message_id, text.chat_id, text.number, text.version, text.marked
FROM messages JOIN search_texts AS text
  ON text.chat_id = messages.chat_id AND text.number = messages.number
WHERE messages.id > %s AND messages.id <= %s
"""
FIND_STRAY_TEXTS = """
SELECT text.message_id FROM search_texts AS text
WHERE NOT EXISTS (
    SELECT FROM messages
    WHERE messages.chat_id = text.chat_id AND messages.number = text.number
      AND messages.id = text.message_id
)
"""
FIND_PENDING = f"""
SELECT message_id FROM search_outbox WHERE message_id = ANY (%(ids)s)
UNION SELECT message_id FROM search_queue WHERE %(index)s AND message_id = ANY (%(ids)s)
UNION {FIND_OUTDATED}
"""


@dataclass(slots=True)
class Report:
    """What a check found: ids of messages by what is wrong, and how much was looked at."""

    checked: int = 0
    pending: int = 0
    texts: dict[int, str] = field(default_factory=dict)
    documents: dict[int, str] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        return bool(self.texts or self.documents)


def check(connection: Connection, *, with_index: bool, advance: Callable[[int], object]) -> Report:
    """Compare everything; `advance` is told how many messages each step took."""
    report = Report()
    suspects: set[int] = set()
    for low, high, count in slices(connection):
        texts, documents = compare(connection, low, high, with_index=with_index)
        suspects |= texts.keys() | documents.keys()
        report.checked += count
        advance(count)
    suspects |= {row[0] for row in connection.execute(FIND_STRAY_TEXTS).fetchall()}
    if suspects:
        time.sleep(SETTLE_SECONDS)
        confirm(connection, report, suspects, with_index=with_index)
    return report


def slices(connection: Connection) -> Iterator[tuple[int, int, int]]:
    """Bounds of ids, from the first to beyond the last, and how many messages lie between."""
    low = -1
    while True:
        query = "SELECT id FROM messages WHERE id > %s ORDER BY id LIMIT %s"
        ids = connection.execute(query, (low, PAGE)).fetchall()
        high = ids[-1][0] if len(ids) == PAGE else MAX_ID
        yield low, high, len(ids)
        if high == MAX_ID:
            return
        low = high


def compare(
    connection: Connection, low: int, high: int, *, with_index: bool
) -> tuple[dict[int, str], dict[int, str]]:
    """What is wrong with the texts and the documents of one slice of ids."""
    wanted = read_messages(connection, low, high)
    texts = {
        row[0]: (row[1], row[2], row[3], digest(row[4]))
        for row in connection.execute(READ_TEXTS, (low, high)).fetchall()
    }
    documents = read_documents(low, high) if with_index else wanted
    return differences(wanted, texts), differences(wanted, documents)


def read_messages(connection: Connection, low: int, high: int) -> dict[int, Facts]:
    """What the table says, folded here once more."""
    rows = connection.execute(READ_MESSAGES, (low, high, None)).fetchall()
    return {row[0]: (row[1], row[2], row[3], digest(mark(row[4]))) for row in rows}


def read_documents(low: int, high: int) -> dict[int, Facts]:
    """What Elasticsearch says."""
    found: dict[int, Facts] = {}
    while True:
        hits = search_documents(low, high)
        for hit in hits:
            source = hit["_source"]
            facts = (source["chat_id"], source["number"], source["version"], source["digest"])
            found[int(hit["_id"])] = facts
        if len(hits) < PAGE:
            return found
        low = hits[-1]["sort"][0]


def search_documents(low: int, high: int) -> list[dict[str, Any]]:
    """One page of documents by message id."""
    response = client().search(
        index=ALIAS,
        query={"range": {"message_id": {"gt": low, "lte": high}}},
        sort=[{"message_id": "asc"}],
        size=PAGE,
        track_total_hits=False,
        allow_partial_search_results=False,
    )
    hits: list[dict[str, Any]] = response.body["hits"]["hits"]
    return hits


def differences(wanted: dict[int, Facts], found: dict[int, Facts]) -> dict[int, str]:
    """What is wrong with what was found, by message id."""
    wrong = {}
    for message_id in wanted.keys() | found.keys():
        want, have = wanted.get(message_id), found.get(message_id)
        if want != have:
            wrong[message_id] = describe(want, have)
    return wrong


def describe(want: Facts | None, have: Facts | None) -> str:
    """A difference in words."""
    if have is None:
        return "missing"
    if want is None:
        return "its message is gone"
    if want[:2] != have[:2]:
        return f"number {have[1]} of chat {have[0]}, not {want[1]} of {want[0]}"
    if want[2] != have[2]:
        return f"version {have[2]}, not {want[2]}"
    return "other text"


def confirm(
    connection: Connection, report: Report, suspects: set[int], *, with_index: bool
) -> None:
    """Keep what is still wrong after a while and does not wait to be indexed."""
    ordered = sorted(suspects)
    for low, high, _count in slices(connection):
        if bisect_right(ordered, low) < bisect_right(ordered, high):
            texts, documents = compare(connection, low, high, with_index=with_index)
            report.texts |= {key: texts[key] for key in texts.keys() & suspects}
            report.documents |= {key: documents[key] for key in documents.keys() & suspects}
    for (message_id,) in connection.execute(FIND_STRAY_TEXTS).fetchall():
        report.texts[message_id] = describe(None, (0, 0, 0, ""))
    leave_out_pending(connection, report, with_index=with_index)


def leave_out_pending(connection: Connection, report: Report, *, with_index: bool) -> None:
    """Count what waits to be indexed as pending and not as different."""
    wrong = list(report.texts.keys() | report.documents.keys())
    parameters = {"ids": wrong, "index": with_index}
    for (message_id,) in connection.execute(FIND_PENDING, parameters).fetchall():
        report.pending += 1
        report.texts.pop(message_id, None)
        report.documents.pop(message_id, None)
