"""The indexer: drains the outbox into PostgreSQL's search and into the feeder's queue."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import psycopg
from redis import Redis, RedisError

from crud_service.chat.announcements import publish
from crud_service.duties.lease import Lease, stopping, work_under
from crud_service.postgresql import INDEXER
from crud_service.search.feed.feeder import LOOK_SECONDS, Feeder, feeding
from crud_service.search.feed.outbox import index_batch
from crud_service.search.feed.refold import refold_some
from crud_service.search.index.doorbell import stop_ringing, wait_for_ring
from crud_service.search.index.elasticsearch_index import has_elasticsearch
from crud_service.search.text.folding import TEXT_FORMAT
from crud_service.stores.database import Connection, connect_watched, in_one_line

logger = logging.getLogger(__name__)

# A small batch is followed by a pause, during which the next one grows.
SMALL_BATCH = 1000
PAUSE_SECONDS = 0.02

# Both in one statement, as they are all that an idle indexer asks.
LOOK = """
SELECT EXISTS (SELECT FROM search_outbox),
    EXISTS (SELECT FROM search_refold WHERE done_format <> %s)
"""
CHATS_BY_ID = """
SELECT a.access_token, c.number FROM chats c JOIN applications a ON a.id = c.application_id
WHERE c.id = ANY (%s)
"""


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
        with connect_watched(INDEXER) as connection:

            def work() -> None:
                stop_ringing(redis)
                with beside(), feeding(woken_by, look_seconds) as feeder:
                    indexer = Indexer(redis, connection, lease, feeder, fold, look_seconds)
                    indexer.run(woken_by, stay=stay)

            while work_under(lease, work) and not stopping.is_set():
                pass
    except (psycopg.Error, RedisError) as error:
        logger.warning("indexing waits for a store", extra={"reason": in_one_line(error)})


@dataclass(frozen=True, slots=True)
class Indexer:
    """Folds batch after batch while we hold the lease; see `keep_indexed` for the attributes."""

    redis: Redis
    connection: Connection
    lease: Lease
    feeder: Feeder
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
            extra = {"entries": folded, "woken_by": woken_by}
            logger.info("changes folded for search", extra=extra)
        return folded

    def announce_edits(self, chat_ids: list[int]) -> None:
        """Announce the edits of chats, by their ids.

        The process that edits a message announces it, unless it is killed right after the
        commit. Nothing announces an edit made with SQL. The outbox has them all.
        """
        publish(self.redis, self.connection.execute(CHATS_BY_ID, (chat_ids,)))


class Waiting(NamedTuple):
    """Whether there are changes to fold, and texts of an older format to fold again."""

    changes: bool
    outdated_texts: bool


def look(connection: Connection) -> Waiting:
    (row,) = connection.execute(LOOK, (TEXT_FORMAT,)).fetchall()
    return Waiting(*row)
