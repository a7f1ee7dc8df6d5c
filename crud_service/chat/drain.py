"""Drains the stream `accepted` into PostgreSQL, batch by batch, for as long as there is one."""

import logging
import time

import psycopg
from django import db
from redis import Redis, RedisError

from contract.keys import LEASE_PERSIST
from crud_service.chat.accepted import (
    Batch,
    is_empty,
    read_batch,
    wait_for_entries,
)
from crud_service.chat.batch_log import log_batch
from crud_service.chat.lease import Lease, held
from crud_service.chat.persist import Stored
from crud_service.chat.poison import store_what_can_be
from crud_service.chat.set_aside import set_aside
from crud_service.chat.shutdown import is_asked_to_stop
from crud_service.chat.worker_metrics import count_outage, remove_and_count
from crud_service.search.wake_up import wake_indexer

logger = logging.getLogger(__name__)

# How long a persister stays after the last entry, to be there for the next one.
LINGER_MS = 200
# A small batch is followed by a pause, in which the next one grows: a batch of
# one costs nearly what a batch of fifty does.
SMALL_BATCH = 200
PAUSE_SECONDS = 0.01


def drain_accepted(redis: Redis, woken_by: str) -> None:
    """Store what was accepted, unless another worker is at it; waits out no outage.

    An outage ends the drain: the entries stay in the stream, and the sweep
    sends the next task within a second.
    """
    try:
        drain_while_leased(redis, woken_by)
    except (psycopg.Error, db.Error, RedisError) as error:
        logger.warning("persisting waits for a store", extra={"reason": describe(error)})
        db.connection.close()
        count_outage(redis)


def drain_while_leased(redis: Redis, woken_by: str) -> None:
    """Drain under the lease, and look again after it was given back.

    An entry that comes while the lease is held wakes nobody: the one that
    comes between our last look and the release would wait for the sweep.
    """
    lease = Lease(redis, LEASE_PERSIST)
    while True:
        with held(lease) as ours:
            if not ours:
                return
            drain(redis, lease, woken_by)
        if is_asked_to_stop() or is_empty(redis):
            return


def drain(redis: Redis, lease: Lease, woken_by: str) -> None:
    """Store batch after batch until the stream has been empty for a while."""
    while not is_asked_to_stop() and lease.take():
        batch = read_batch(redis)
        if batch:
            persist_batch(redis, batch, woken_by)
        elif not wait_for_entries(redis, LINGER_MS):
            return
        if 0 < len(batch) < SMALL_BATCH:
            time.sleep(PAUSE_SECONDS)


def persist_batch(redis: Redis, batch: Batch, woken_by: str) -> Stored:
    """Store a batch and take it out of the stream, in this order."""
    started = time.perf_counter()
    connection = open_connection()
    if batch.bad:
        set_aside(connection, batch.bad)
    stored = store_what_can_be(connection, batch.entries)
    if stored.messages:
        wake_indexer(batch.entries[0].request_id)
    seconds = time.perf_counter() - started
    remove_and_count(redis, batch, stored, seconds, time.time() * 1000)
    log_batch(batch, stored, seconds, woken_by)
    return stored


def open_connection() -> psycopg.Connection:
    """Django's connection to PostgreSQL, as psycopg has it."""
    db.connection.ensure_connection()
    connection: psycopg.Connection = db.connection.connection
    return connection


def describe(error: Exception) -> str:
    """An error in one line, without the details that quote rows."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
