"""Drains the stream of a shard into PostgreSQL, batch by batch, for as long as a worker runs."""

import logging
import time
from collections import defaultdict
from functools import partial

import psycopg
from django import db
from django.conf import settings
from psycopg.errors import IdleInTransactionSessionTimeout, QueryCanceled, TransactionTimeout
from redis import Redis, RedisError

from contract.shards import ONLY, Shard
from crud_service.duties.background import running
from crud_service.duties.lease import Duty, Lease, persisting, record_progress, stopping, work_under
from crud_service.duties.spread import SHARE
from crud_service.persist.accepted import Batch, BatchLimit, fill, read_ahead, wait_for_entries
from crud_service.persist.acknowledged_batch import check_replicas, wait_for_replicas
from crud_service.persist.batch_log import log_batch
from crud_service.persist.poison import store_what_can_be
from crud_service.persist.set_aside import set_aside
from crud_service.persist.store import Stored
from crud_service.persist.worker_metrics import count_outage, remove_and_count
from crud_service.stores.database import in_one_line
from crud_service.stores.transactions import SECURE

logger = logging.getLogger(__name__)

# How long to wait for an entry before checking whether to go on.
BLOCK_MS = 1000
# A small batch is followed by a pause, during which the next one grows (group commit):
# a batch of one costs nearly as much as a batch of fifty.
SMALL_BATCH = 200
PAUSE_SECONDS = 0.01

# Of each shard. Outlives the tasks: after a timeout, the next task tries smaller batches.
_limits: defaultdict[Shard, BatchLimit] = defaultdict(BatchLimit)


def drain_accepted(redis: Redis, shard: Shard = ONLY) -> None:
    """Store the backlog and return, or return at once if another worker has the lease."""
    persist_accepted(redis, Lease(redis, persisting(shard)), stay=False)


def persist_accepted(redis: Redis, lease: Lease, woken_by: str = "", *, stay: bool = True) -> None:
    """Store a shard's accepted entries for as long as we hold its lease and the worker runs.

    Returns in an outage instead of waiting: the entries stay in the stream, another worker
    may reach the store, and the sweep sends the next task within a second. Returns at once if this
    process has its share of the shards: another worker is to be woken.

    Args:
        redis: where entries wait and the lease is kept.
        lease: the lease on persisting.
        woken_by: the id of the request that led to this, for the log.
        stay: wait for more entries, instead of returning when none is left.
    """

    shard = lease.duty.shard

    def work() -> None:
        logger.info("persisting", extra={"woken_by": woken_by, "shard": shard.number})
        drain(redis, lease, stay=stay)

    try:
        if stay and SHARE.is_taken(lease.duty):
            redis.delete(lease.duty.flag)
            return
        while work_under(lease, work) and not stopping.is_set() and not SHARE.is_taken(lease.duty):
            pass
    except (psycopg.Error, db.Error, RedisError) as error:
        SHARE.note_failure()
        logger.warning("persisting waits for a store", extra={"reason": in_one_line(error)})
        db.connection.close()
        count_outage(redis, shard)


def drain(redis: Redis, lease: Lease, *, stay: bool) -> None:
    """Store batch after batch; then wait for more, or without `stay` return.

    While PostgreSQL stores a batch, the next one is read and decoded.
    """
    duty = lease.duty
    limit = _limits[duty.shard]
    batch = Batch(limit.entries)
    while may_go_on(lease):
        if fill(redis, batch, duty.waiting):
            if settings.REPLICAS_TO_ACKNOWLEDGE:
                wait_for_replicas(redis, lease, batch)
            following = Batch(limit.entries, after_id=batch.last_id)
            with running("read-ahead", partial(read_ahead, redis, following, duty.waiting)):
                persist_batch(redis, batch, duty)
            if len(batch) < SMALL_BATCH:
                time.sleep(PAUSE_SECONDS)
            # An empty one begins with the oldest entry again, whatever its id is.
            batch = following or Batch(limit.entries)
        elif not stay:
            return
        else:
            while not wait_for_entries(redis, BLOCK_MS, duty.waiting) and may_go_on(lease):
                if settings.REPLICAS_TO_ACKNOWLEDGE:
                    check_replicas(redis, lease)


def may_go_on(lease: Lease) -> bool:
    return not stopping.is_set() and not SHARE.is_exceeded(lease.duty) and lease.hold()


def persist_batch(redis: Redis, batch: Batch, duty: Duty) -> Stored:
    """Store a batch, then remove it from the stream, in this order."""
    started = time.perf_counter()
    limit = _limits[duty.shard]
    try:
        stored = store_on_live_connection(batch, duty)
    except (QueryCanceled, IdleInTransactionSessionTimeout, TransactionTimeout):
        limit.ran_out_of_time(len(batch))
        raise
    limit.stored()
    seconds = time.perf_counter() - started
    remove_and_count(redis, batch, stored, seconds, time.time() * 1000, duty.shard)
    log_batch(batch, stored, seconds)
    return stored


def store_on_live_connection(batch: Batch, duty: Duty) -> Stored:
    """Store a batch; retry once on a new connection if the old one turns out to be closed."""
    connection = open_connection()
    try:
        return store_batch(connection, batch, duty)
    except (psycopg.OperationalError, psycopg.InterfaceError):
        if not connection.closed:
            raise
    db.connection.close()
    return store_batch(open_connection(), batch, duty)


def store_batch(connection: psycopg.Connection, batch: Batch, duty: Duty) -> Stored:
    if batch.bad:
        set_aside(connection, batch.bad)
    stored = store_what_can_be(connection, batch.entries, partial(record_progress, duty))
    if batch.bad or stored.found:
        wait_for_standbys(connection)
    return stored


def wait_for_standbys(connection: psycopg.Connection) -> None:
    """Wait until what is committed so far is as safe as PostgreSQL is configured to have it.

    A transaction that finds rows where it would write waits for nothing, not even if the commit
    that wrote them never got its standby: their entries would leave the stream too early.
    """
    with connection.transaction(), psycopg.Cursor(connection) as cursor:
        cursor.execute(SECURE)


def open_connection() -> psycopg.Connection:
    """Return this thread's psycopg connection, which is under Django's, opened if necessary."""
    db.connection.ensure_connection()
    connection: psycopg.Connection = db.connection.connection
    return connection
