"""Mends what `check` found: takes away what is wrong and has it indexed again."""

import time
from typing import Any

import psycopg

from crud_service.search.bulk import write_documents
from crud_service.search.check import Report
from crud_service.search.elasticsearch_index import ALIAS, client

Connection = psycopg.Connection[tuple[Any, ...]]

TICK_SECONDS = 0.5

FORGET_TEXTS = "DELETE FROM search_texts WHERE message_id = ANY (%s)"
ENQUEUE = """
INSERT INTO search_outbox (message_id, chat_id, number)
SELECT id, chat_id, number FROM messages WHERE id = ANY (%s) ORDER BY id
"""
FORGET_FAILURES = "DELETE FROM search_failures WHERE message_id = ANY (%s)"


def repair(connection: Connection, report: Report) -> None:
    """Remove the texts and documents that differ, and put their messages into the outbox."""
    ids = sorted(report.texts.keys() | report.documents.keys())
    if report.documents:
        write_documents(ALIAS, [], sorted(report.documents))
        # A deleted document keeps its version until a refresh forgets it, and no lower
        # one may come back before. Elasticsearch looks at a clock that ticks five times
        # a second: what was deleted within the tick of the refresh is not forgotten.
        time.sleep(TICK_SECONDS)
        client().indices.refresh(index=ALIAS)
    with connection.transaction():
        connection.execute(FORGET_TEXTS, (sorted(report.texts),))
        connection.execute(FORGET_FAILURES, (ids,))
        connection.execute(ENQUEUE, (ids,))
