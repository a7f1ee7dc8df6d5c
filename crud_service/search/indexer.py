"""The indexer: drains the outbox into PostgreSQL's search, and the queue into Elasticsearch.

The second runs in a thread beside the first: however long Elasticsearch
takes to answer, or not to, searches in PostgreSQL are up to date.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.conf import settings
from elasticsearch import ApiError, TransportError
from redis import Redis, RedisError

from contract.keys import LEASE_INDEX
from crud_service.chat.lease import Lease, held
from crud_service.chat.shutdown import is_asked_to_stop
from crud_service.search.bulk import IndexGone
from crud_service.search.outbox import BATCH, index_batch
from crud_service.search.queue import Throttled, index_queued, is_queue_empty
from crud_service.search.refold import refold_some

logger = logging.getLogger(__name__)
Connection = psycopg.Connection[tuple[Any, ...]]

# How long the indexer stays after the last change, and how often it looks.
LINGER_SECONDS = 0.3
POLL_SECONDS = 0.03
MAX_BACK_OFF_SECONDS = 4.0


def index_pending(redis: Redis, woken_by: str = "") -> None:
    """Index what waits, unless another worker is at it; waits out no outage."""
    try:
        with connect() as connection:
            index_while_leased(redis, connection, woken_by)
    except (psycopg.Error, RedisError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        logger.warning("indexing waits for a store", extra={"reason": reason})


def connect() -> Connection:
    """A connection to PostgreSQL of the caller's own."""
    return psycopg.connect(
        settings.DATABASE_URL,
        autocommit=True,
        connect_timeout=3,
        application_name="indexer",
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        # The same for PostgreSQL's end of a link that is half open: it holds what was claimed.
        options="-c jit=off -c idle_in_transaction_session_timeout=60s"
        " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3",
    )


def has_elasticsearch() -> bool:
    return bool(settings.ELASTICSEARCH_URL)


def index_while_leased(redis: Redis, connection: Connection, woken_by: str) -> None:
    """Index under the lease, and look again after it was given back.

    A change that comes while the lease is held wakes nobody: one that comes
    between our last look and the release would wait for the sweep.
    """
    lease = Lease(redis, LEASE_INDEX)
    while True:
        with held(lease) as ours:
            if not ours:
                return
            with feeding(woken_by) as is_idle:
                drain_outbox(connection, lease, is_idle, woken_by)
        if is_asked_to_stop() or not index_batch(connection, hand_on=has_elasticsearch()):
            return


def drain_outbox(
    connection: Connection, lease: Lease, is_idle: Callable[[], bool], woken_by: str
) -> None:
    """Fold batch after batch until nothing has come for a while and Elasticsearch has it all."""
    busy_at = time.monotonic()
    while not is_asked_to_stop() and lease.take():
        indexed = index_batch(connection, hand_on=has_elasticsearch())
        if indexed:
            log_batch("changes folded for search", indexed, woken_by)
        # Only while nothing fresh waits; a piece is small, so what comes meanwhile waits briefly.
        refolded = 0 if indexed else refold_some(connection, hand_on=has_elasticsearch())
        if indexed or refolded or not is_idle():
            busy_at = time.monotonic()
        elif time.monotonic() - busy_at > LINGER_SECONDS:
            return
        if indexed < BATCH and not refolded:
            time.sleep(POLL_SECONDS)


class BackOff:
    """When to ask Elasticsearch again after it failed, longer each time; one per process."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.until = 0.0

    def failed(self) -> None:
        self.seconds = min(MAX_BACK_OFF_SECONDS, self.seconds * 2 or 0.25)
        self.until = time.monotonic() + self.seconds

    def succeeded(self) -> None:
        self.seconds = self.until = 0.0

    def is_waiting(self) -> bool:
        return time.monotonic() < self.until


back_off = BackOff()


@contextmanager
def feeding(woken_by: str) -> Iterator[Callable[[], bool]]:
    """Feeds Elasticsearch in a thread; gives a function that tells if it has nothing to do now."""
    if not has_elasticsearch():
        yield lambda: True
        return
    stop, idle = threading.Event(), threading.Event()
    thread = threading.Thread(target=feed, args=(stop, idle, woken_by), name="feed", daemon=True)
    thread.start()
    try:
        yield lambda: idle.is_set() or not thread.is_alive()
    finally:
        stop.set()
        thread.join()


def feed(stop: threading.Event, idle: threading.Event, woken_by: str) -> None:
    """Send batches until told to stop; idle while there are none or Elasticsearch is away."""
    try:
        with connect() as connection:
            while not stop.is_set():
                # The first look is at Elasticsearch too, whose index may be gone.
                if feed_once(connection, woken_by):
                    idle.clear()
                    continue
                idle.set()
                while not stop.wait(POLL_SECONDS) and is_queue_empty(connection):
                    pass
    except psycopg.Error as error:
        logger.warning("indexing waits for PostgreSQL", extra={"reason": type(error).__name__})


def feed_once(connection: Connection, woken_by: str = "") -> bool:
    """Send one batch, unless Elasticsearch failed a moment ago; whether there was one."""
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
        log_batch("documents sent to Elasticsearch", sent, woken_by)
    return sent > 0


def log_batch(what: str, entries: int, woken_by: str) -> None:
    """One line for a batch, with the request that woke the indexer up."""
    logger.info(what, extra={"entries": entries, "woken_by": woken_by})
