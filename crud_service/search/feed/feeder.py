"""The feeder: sends what is queued to Elasticsearch, in a thread beside the indexer.

So searches in PostgreSQL stay up to date even while Elasticsearch is slow or unavailable.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import psycopg
from django.conf import settings
from elasticsearch import ApiError, TransportError

from crud_service.postgresql import INDEXER
from crud_service.search.feed.bulk import IndexGone
from crud_service.search.feed.queue import Throttled, index_queued, is_queue_empty
from crud_service.search.index.elasticsearch_index import has_elasticsearch
from crud_service.stores.database import Connection, connect_watched

logger = logging.getLogger(__name__)

# How often to look for changes for which nothing woke the indexer or its feeder.
LOOK_SECONDS = 1.0
MAX_BACK_OFF_SECONDS = 1.0

INDEX_IS_MISSING = "SELECT EXISTS (SELECT FROM search_state WHERE index_format = 0)"


@dataclass(slots=True)
class BackOff:
    """The exponential back-off after a failure of Elasticsearch."""

    seconds: float = 0.0
    until: float = 0.0

    def failed(self) -> None:
        self.seconds = min(MAX_BACK_OFF_SECONDS, self.seconds * 2 or 0.25)
        self.until = time.monotonic() + self.seconds

    def succeeded(self) -> None:
        self.seconds = self.until = 0.0

    def is_waiting(self) -> bool:
        return self.remaining() > 0

    def remaining(self) -> float:
        return max(0.0, self.until - time.monotonic())


@cache
def back_off_of(server: str) -> BackOff:
    return BackOff()


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
        look_at_index_from = 0.0
        while not self._over.is_set():
            self._idle.clear()
            look_at_index = self._rung.is_set() and time.monotonic() >= look_at_index_from
            self._rung.clear()
            if look_at_index or has_something_to_send(connection):
                look_at_index_from = time.monotonic() + self._look_seconds
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


def feed_once(connection: Connection, woken_by: str = "") -> bool:
    """Send one batch, unless in back-off after a failure; return whether anything was sent."""
    back_off = back_off_of(settings.ELASTICSEARCH_URL)
    if back_off.is_waiting():
        return False
    try:
        sent = index_queued(connection)
    except (ApiError, TransportError, IndexGone, Throttled) as error:
        back_off.failed()
        logger.warning("indexing waits for Elasticsearch", extra={"reason": type(error).__name__})
        return False
    back_off.succeeded()
    if sent:
        logger.info(
            "documents sent to Elasticsearch", extra={"entries": sent, "woken_by": woken_by}
        )
    return sent > 0


def has_something_to_send(connection: Connection) -> bool:
    if not is_queue_empty(connection):
        return True
    ((is_missing,),) = connection.execute(INDEX_IS_MISSING).fetchall()
    return bool(is_missing)
