"""The indexer: drains the outbox into PostgreSQL's search, and the queue into Elasticsearch.

The queue is drained in a separate thread, so that searches in PostgreSQL stay up to date
even while Elasticsearch is slow or unavailable.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import psycopg
from django.conf import settings
from elasticsearch import ApiError, TransportError
from redis import Redis, RedisError

from crud_service.chat.announcements import publish
from crud_service.duties.lease import Lease, stopping, work_under
from crud_service.postgresql import INDEXER
from crud_service.search.feed.bulk import IndexGone
from crud_service.search.feed.outbox import index_batch
from crud_service.search.feed.queue import Throttled, index_queued, is_queue_empty
from crud_service.search.feed.refold import refold_some
from crud_service.search.index.doorbell import stop_ringing, wait_for_ring
from crud_service.search.text.folding import TEXT_FORMAT
from crud_service.stores.database import Connection

logger = logging.getLogger(__name__)

# How often to look for changes for which the doorbell did not ring.
LOOK_SECONDS = 1.0
# A small batch is followed by a pause, during which the next one grows.
SMALL_BATCH = 1000
PAUSE_SECONDS = 0.02
MAX_BACK_OFF_SECONDS = 1.0

# Both in one statement, as they are all that an idle indexer asks.
LOOK = """
SELECT EXISTS (SELECT FROM search_outbox),
    EXISTS (SELECT FROM search_refold WHERE done_format <> %s)
"""
CHATS_BY_ID = """
SELECT a.access_token, c.number FROM chats c JOIN applications a ON a.id = c.application_id
WHERE c.id = ANY (%s)
"""
INDEX_IS_MISSING = "SELECT EXISTS (SELECT FROM search_state WHERE index_format = 0)"


def keep_indexed(
    redis: Redis,
    lease: Lease,
    woken_by: str = "",
    *,
    stay: bool = True,
    beside: Callable[[], AbstractContextManager[object]] = nullcontext,
    fold: Callable[..., int] = index_batch,
    look_seconds: float = LOOK_SECONDS,
) -> None:
    """Index changes for as long as we hold the lease and the worker runs.

    Returns in an outage of PostgreSQL or Redis instead of waiting: the sweep sends the next task
    within a second.

    Args:
        redis: where the doorbell rings and the lease is kept.
        lease: the lease on indexing; returns once another worker has it.
        woken_by: the id of the request that led to this, for the log.
        stay: wait for more changes, instead of returning when none is left.
        beside: entered for as long as we hold the lease.
        fold: folds one batch and returns how many changes it had.
        look_seconds: how often to look for changes for which the doorbell did not ring.
    """
    try:
        with connect() as connection:

            def work() -> None:
                stop_ringing(redis)
                with beside(), feeding(woken_by, look_seconds) as feeder:
                    indexing = Indexing(redis, connection, lease, feeder, fold, look_seconds)
                    indexing.run(woken_by, stay=stay)

            while work_under(lease, work) and not stopping.is_set():
                pass
    except (psycopg.Error, RedisError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        logger.warning("indexing waits for a store", extra={"reason": reason})


def connect() -> Connection:
    """Return a new connection for the indexer's statements, in autocommit mode."""
    # The connection lives for weeks: a plan that was made while the tables were small
    # must not be kept once they have grown.
    return psycopg.connect(
        settings.DATABASE_URL, autocommit=True, prepare_threshold=None, **INDEXER
    )


def has_elasticsearch() -> bool:
    """Return whether this stack has an Elasticsearch, available or not."""
    return bool(settings.ELASTICSEARCH_URL)


@dataclass(frozen=True, slots=True)
class Indexing:
    """Folds batch after batch while we hold the lease; see `keep_indexed` for the attributes."""

    redis: Redis
    connection: Connection
    lease: Lease
    feeder: "Feeder"
    fold: Callable[..., int]
    look_seconds: float

    def run(self, woken_by: str, *, stay: bool) -> None:
        """Fold batches; then wait for more, or return once the feeder is idle (not `stay`)."""
        changed, refold_by, is_refolding = True, 0.0, True
        while not stopping.is_set() and self.lease.hold():
            folded = self.fold_changes(woken_by) if changed else 0
            refolded = 0
            # Refold a piece after each small batch, but only once a second under heavy load.
            # Fresh changes wait no longer than one piece takes.
            if is_refolding and (folded < SMALL_BATCH or time.monotonic() >= refold_by):
                refolded = refold_some(self.connection, hand_on=has_elasticsearch())
                refold_by = time.monotonic() + self.look_seconds
            if refolded:
                self.feeder.wake(woken_by)
                changed = True
            elif folded:
                if folded < SMALL_BATCH:
                    time.sleep(PAUSE_SECONDS)
            elif stay:
                rung = wait_for_ring(self.redis, self.look_seconds)
                if rung is not None:
                    woken_by = rung
                    self.feeder.wake(rung)
                    changed = True
                else:
                    changed, is_refolding = look(self.connection)
            elif self.feeder.is_idle():
                return
            else:
                time.sleep(PAUSE_SECONDS)
                self.feeder.wait_until_idle(self.look_seconds)

    def fold_changes(self, woken_by: str) -> int:
        """Fold one batch, and have it sent; return how many changes it had."""
        folded = self.fold(self.connection, hand_on=has_elasticsearch(), edited=self.announce_edits)
        if folded:
            self.feeder.wake(woken_by)
            log_batch("changes folded for search", folded, woken_by)
        return folded

    def announce_edits(self, chat_ids: list[int]) -> None:
        """Announce the edits of chats, by their ids.

        The process that edits a message announces it, unless it is killed right after the
        commit. Nothing announces an edit made with SQL. The outbox has them all.
        """
        publish(self.redis, self.connection.execute(CHATS_BY_ID, (chat_ids,)))


def has_something_to_send(connection: Connection) -> bool:
    return not is_queue_empty(connection) or is_true(connection, INDEX_IS_MISSING)


class Waiting(NamedTuple):
    """Whether there are changes to fold, and texts of an older format to fold again."""

    changes: bool
    outdated_texts: bool


def look(connection: Connection) -> Waiting:
    (row,) = connection.execute(LOOK, (TEXT_FORMAT,)).fetchall()
    return Waiting(*row)


def is_true(connection: Connection, question: str) -> bool:
    return bool(connection.execute(question).fetchall()[0][0])


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
                with connect() as connection:
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
        log_batch("documents sent to Elasticsearch", sent, woken_by)
    return sent > 0


def log_batch(what: str, entries: int, woken_by: str) -> None:
    logger.info(what, extra={"entries": entries, "woken_by": woken_by})
