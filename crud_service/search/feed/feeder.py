"""The feeder: sends what is queued to Elasticsearch, in a thread beside the indexer.

So searches in PostgreSQL stay up to date even while Elasticsearch is slow or unavailable.
"""

import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from django.conf import settings

from crud_service.postgresql import INDEXER
from crud_service.search.index.elasticsearch_index import has_elasticsearch
from crud_service.stores.database import Connection, connect_watched

logger = logging.getLogger(__name__)

# How often to look for changes for which nothing woke the indexer or its feeder.
LOOK_SECONDS = 1.0
# After how many looks without a change the index is looked at: what its alias points to now.
LOOKS_PER_INDEX = 10


class Feeder:
    """Feeds Elasticsearch in a thread: when the indexer wakes it, and once a second."""

    def __init__(self, woken_by: str, look_seconds: float = LOOK_SECONDS) -> None:
        self._woken_by = woken_by
        self._look_seconds = look_seconds
        self._over = threading.Event()
        self._idle = threading.Event()
        # A ring without changes means that the index may be missing: the first look checks it too.
        self._rung = threading.Event()
        self._rung.set()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self, woken_by: str) -> None:
        self._woken_by = woken_by
        self._rung.set()

    def is_idle(self) -> bool:
        return not self._thread.is_alive() or (self._idle.is_set() and not self._rung.is_set())

    def wait_until_idle(self, seconds: float) -> None:
        """Wait for the answer of Elasticsearch, if it is asked, for some seconds at most."""
        self._idle.wait(seconds)

    def close(self) -> None:
        """Stop the thread, and wait for the end of its current batch."""
        self._over.set()
        self._rung.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with connect_watched(INDEXER) as connection:
                    self._feed(connection)
            except psycopg.Error as error:
                reason = type(error).__name__
                logger.warning("indexing waits for PostgreSQL", extra={"reason": reason})
            except Exception:
                # Nothing else feeds Elasticsearch: the thread must survive any error.
                logger.exception("feeding Elasticsearch failed")
            self._idle.set()
            self._over.wait(self._look_seconds)

    def _feed(self, connection: Connection) -> None:
        # Not above: a stack without Elasticsearch never gets here.
        from crud_service.search.feed.attempts import (
            back_off_of,
            feed_once,
            has_something_to_send,
        )

        looked_at_index = -math.inf
        while not self._over.is_set():
            self._idle.clear()
            pause = self._look_seconds * (1 if self._rung.is_set() else LOOKS_PER_INDEX)
            look_at_index = time.monotonic() >= looked_at_index + pause
            self._rung.clear()
            if look_at_index or has_something_to_send(connection):
                looked_at_index = time.monotonic()
                while feed_once(connection, self._woken_by) and not self._over.is_set():
                    pass
            self._idle.set()
            pause = back_off_of(settings.ELASTICSEARCH_URL).remaining()
            self._rung.wait(pause or self._look_seconds)


@contextmanager
def feeding(woken_by: str, look_seconds: float) -> Iterator[Feeder]:
    """Feed Elasticsearch, if this stack has one, until the end of the block."""
    feeder = Feeder(woken_by, look_seconds)
    if has_elasticsearch():
        feeder.start()
    try:
        yield feeder
    finally:
        feeder.close()
