"""Compares `messages` with the texts and documents that search derived from them, in slices.

Texts and documents are read in the order of message ids, in slices limited by rows and
bytes, so that memory does not grow with the tables. Differences are checked again after
a delay, because in a running system a message may change between two reads. A message
that still waits to be indexed does not count as different. Confirmed differences are
counted and passed to `mend`, if given, in batches. `check_blocks` checks the blocks.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from crud_service.search.feed.check_report import Found, Key, Report
from crud_service.search.feed.refold import FIND_OUTDATED
from crud_service.search.index.documents import digest
from crud_service.search.index.elasticsearch_index import alias, client
from crud_service.search.text.folding import mark
from crud_service.search.text.texts import CREATED_MS
from crud_service.stores.database import Connection

PAGE = 2000
PAGE_BYTES = 2_000_000
# Messages per second look: few enough to hold in memory, however long their texts are.
CONFIRM_PAGE = 100
SUSPECTS = 5000
MAX_ID = 2**63 - 1
# Longer than a refresh takes, and longer than the indexer lets a change wait.
SETTLE_SECONDS = 2.0

NEXT_SLICE = """
SELECT max(id), count(*) FROM (
    SELECT id, sum(size) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) - size AS before
    FROM (
        SELECT id, octet_length(body) AS size FROM messages WHERE id > %s ORDER BY id LIMIT %s
    ) AS sized
) AS page WHERE before < %s
"""
IN_SLICE = "message.id > %(low)s AND message.id <= %(high)s"
IN_IDS = "message.id = ANY (%(ids)s)"
READ_MESSAGES = f"""
SELECT id, chat_id, number, version, sender, {CREATED_MS}, body
FROM messages AS message WHERE {{where}} AND deleted_at IS NULL
"""
# A text has neither sender nor time: PostgreSQL's search looks these up.
READ_TEXTS = f"""
SELECT text.message_id, text.chat_id, text.number, text.version, message.sender, {CREATED_MS},
       text.marked
FROM messages AS message JOIN search_texts AS text
  ON text.chat_id = message.chat_id AND text.number = message.number
WHERE {{where}}
"""
# A page of the keys of texts, each with whether its message exists.
FIND_STRAY_TEXTS = """
WITH page AS MATERIALIZED (
    SELECT chat_id, number, message_id FROM search_texts
    WHERE (chat_id, number) > (%s, %s) ORDER BY chat_id, number LIMIT %s
)
SELECT chat_id, number, message_id, EXISTS (
    SELECT FROM messages
    WHERE messages.chat_id = page.chat_id AND messages.number = page.number
      AND messages.id = page.message_id
) FROM page ORDER BY chat_id, number
"""
CONFIRM_STRAY_TEXTS = """
SELECT text.chat_id, text.number, text.message_id
FROM unnest(%s::bigint[], %s::bigint[]) AS suspect (chat_id, number)
JOIN search_texts AS text USING (chat_id, number)
WHERE NOT EXISTS (
    SELECT FROM messages
    WHERE messages.chat_id = text.chat_id AND messages.number = text.number
      AND messages.id = text.message_id
)
"""
# Those whose text is not queued yet for an index that is being filled.
FIND_UNFILLED = """
SELECT messages.id FROM search_state AS state, messages JOIN search_texts AS text
  ON text.chat_id = messages.chat_id AND text.number = messages.number
WHERE %(index)s AND messages.id = ANY (%(ids)s)
  AND (text.chat_id, text.number) > (state.fill_chat, state.fill_number)
"""
FIND_PENDING = f"""
SELECT message_id FROM search_outbox WHERE message_id = ANY (%(ids)s)
UNION SELECT message_id FROM search_queue WHERE %(index)s AND message_id = ANY (%(ids)s)
UNION {FIND_UNFILLED}
UNION {FIND_OUTDATED}
"""


class Facts(NamedTuple):
    """The compared properties of a message: its time in ms, a digest of its marked text."""

    chat_id: int
    number: int
    version: int
    sender: str | None
    created_at: int
    digest: str


class Slice(NamedTuple):
    """Bounds of message ids (exclusive, inclusive) and the number of messages between them."""

    low: int
    high: int
    messages: int


@dataclass(kw_only=True)
class Check:
    """Compares texts and documents; passes what it confirms to `mend`, if given."""

    connection: Connection = field(kw_only=False)
    with_index: bool
    mend: Callable[[Found], object] | None = None
    settle_seconds: float = SETTLE_SECONDS
    page_bytes: int = PAGE_BYTES
    report: Report = field(default_factory=Report)

    def run(self, advance: Callable[[int], object]) -> Report:
        """Compare everything; `advance` gets the number of messages after each step."""
        suspects: set[int] = set()
        for low, high, count in self.slices():
            texts, documents = self.compare(IN_SLICE, {"low": low, "high": high})
            suspects |= texts.keys() | documents.keys()
            self.report.checked += count
            advance(count)
            if len(suspects) >= SUSPECTS:
                self.confirm(suspects)
                suspects = set()
        self.confirm(suspects)
        for keys in self.stray_texts():
            self.confirm_strays(keys)
        return self.report

    def slices(self) -> Iterator[Slice]:
        """Yield all slices; the last one reaches from the last message to MAX_ID, count 0."""
        low = -1
        while True:
            parameters = (low, PAGE, self.page_bytes)
            ((high, count),) = self.connection.execute(NEXT_SLICE, parameters).fetchall()
            if not count:
                yield Slice(low, MAX_ID, 0)
                return
            yield Slice(low, high, count)
            low = high

    def compare(
        self, where: str, bounds: dict[str, object]
    ) -> tuple[dict[int, str], dict[int, str]]:
        wanted = self.read(READ_MESSAGES.format(where=where), bounds, mark)
        texts = self.read(READ_TEXTS.format(where=where), bounds, str)
        documents = read_documents(bounds) if self.with_index else wanted
        return differences(wanted, texts), differences(wanted, documents)

    def read(
        self, query: str, bounds: dict[str, object], fold: Callable[[str], str]
    ) -> dict[int, Facts]:
        rows = self.connection.execute(query, bounds)
        return {id: Facts._make([*facts, digest(fold(text))]) for id, *facts, text in rows}

    def confirm(self, suspects: set[int]) -> None:
        """After a delay, record the suspects that still differ and do not wait to be indexed."""
        if not suspects:
            return
        time.sleep(self.settle_seconds)
        # One look at the queues removes most of what waits, however much that is. A message may
        # change or be indexed during the comparison: what differs then is looked up once more.
        waiting = self.pending(sorted(suspects))
        self.report.pending += len(waiting)
        suspects = suspects.difference(waiting)
        ordered = sorted(suspects)
        for start in range(0, len(ordered), CONFIRM_PAGE):
            found = Found(*self.compare(IN_IDS, {"ids": ordered[start : start + CONFIRM_PAGE]}))
            # If a suspect's chat and number hold the text of another message, that has its own id.
            found.texts = {key: found.texts[key] for key in found.texts.keys() & suspects}
            self.leave_out_pending(found)
            for message_id in sorted(found.texts):
                self.report.texts.add(f"message id {message_id}: {found.texts[message_id]}")
            for message_id in sorted(found.documents):
                self.report.documents.add(f"message id {message_id}: {found.documents[message_id]}")
            self.hand_on(found)

    def leave_out_pending(self, found: Found) -> None:
        wrong = list(found.texts.keys() | found.documents.keys())
        for message_id in self.pending(wrong) if wrong else ():
            self.report.pending += 1
            found.texts.pop(message_id, None)
            found.documents.pop(message_id, None)

    def pending(self, message_ids: Sequence[int]) -> list[int]:
        parameters = {"ids": list(message_ids), "index": self.with_index}
        return [message_id for (message_id,) in self.connection.execute(FIND_PENDING, parameters)]

    def stray_texts(self) -> Iterator[list[Key]]:
        position = (0, 0)
        while True:
            rows = self.connection.execute(FIND_STRAY_TEXTS, (*position, PAGE)).fetchall()
            if strays := [Key(*key) for *key, has_message in rows if not has_message]:
                yield strays
            if len(rows) < PAGE:
                return
            position = rows[-1][:2]

    def confirm_strays(self, keys: Sequence[Key]) -> None:
        time.sleep(self.settle_seconds)
        columns = ([key.chat_id for key in keys], [key.number for key in keys])
        strays = [Key(*row) for row in self.connection.execute(CONFIRM_STRAY_TEXTS, columns)]
        pending = set(self.pending([key.message_id for key in strays]))
        self.report.pending += len(pending)
        found = Found(stray_texts=[key for key in strays if key.message_id not in pending])
        for key in found.stray_texts:
            self.report.texts.add(f"message id {key.message_id}: its message no longer exists")
        self.hand_on(found)

    def hand_on(self, found: Found) -> None:
        if self.mend and (found.texts or found.documents or found.stray_texts):
            self.mend(found)


def read_documents(bounds: dict[str, Any]) -> dict[int, Facts]:
    if "ids" in bounds:
        return to_facts(search_documents({"terms": {"message_id": bounds["ids"]}}))
    found: dict[int, Facts] = {}
    low = bounds["low"]
    while True:
        hits = search_documents({"range": {"message_id": {"gt": low, "lte": bounds["high"]}}})
        found |= to_facts(hits)
        if len(hits) < PAGE:
            return found
        low = hits[-1]["sort"][0]


def to_facts(hits: Sequence[dict[str, Any]]) -> dict[int, Facts]:
    facts = {}
    for hit in hits:
        source = hit["_source"]
        facts[int(hit["_id"])] = Facts(*(source.get(name) for name in Facts._fields))
    return facts


def search_documents(query: dict[str, Any]) -> list[dict[str, Any]]:
    response = client().search(
        index=alias(),
        query=query,
        sort=[{"message_id": "asc"}],
        size=PAGE,
        track_total_hits=False,
        allow_partial_search_results=False,
    )
    hits: list[dict[str, Any]] = response.body["hits"]["hits"]
    return hits


def differences(wanted: dict[int, Facts], found: dict[int, Facts]) -> dict[int, str]:
    wrong = {}
    for message_id in wanted.keys() | found.keys():
        want, have = wanted.get(message_id), found.get(message_id)
        if want != have:
            wrong[message_id] = describe(want, have)
    return wrong


def describe(want: Facts | None, have: Facts | None) -> str:
    if have is None:
        return "missing"
    if want is None:
        return "its message no longer exists"
    if (want.chat_id, want.number) != (have.chat_id, have.number):
        return f"number {have.number} of chat {have.chat_id}, not {want.number} of {want.chat_id}"
    if want.version != have.version:
        return f"version {have.version}, not {want.version}"
    if want.digest == have.digest:
        return "different sender or time"
    return "different text"
