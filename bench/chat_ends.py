"""What it costs the persister to remember where each chat ends, and to keep chats in that order.

Three candidates take turns on one database: the statement that stored messages before chats
knew their ends; today's without the index of chats by their last activity; and today's. Each
reads batches of the persister's own size from the stream, stores them and trims the stream, by
the persister's own functions. Other work on the machine disturbs clocks more than it does
PostgreSQL's processor time, so the rate that is left is computed from that: how long a message
takes without the ends, and the processor time that they add.
"""

import itertools
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module

import psutil
import psycopg
import redis

from bench.dataset import APPLICATION_TOKEN
from bench.large_table import BODY, LOGGED
from bench.scenario import Run
from bench.stack import BenchStack, fresh
from contract.entries import Entry, encode
from contract.keys import ACCEPTED
from crud_service.persist import store_sql
from crud_service.persist.accepted import MAX_ENTRIES, after, read_batch
from crud_service.persist.store import store

WARM_UPS = 2
AT_LEAST = 0.9
BEFORE = """
WITH inserted AS (
    INSERT INTO messages (chat_id, number, body, created_at, updated_at)
    SELECT chat_id, number, body, created_at, created_at
    FROM unnest(%(chats)b::bigint[], %(numbers)b::bigint[], %(bodies)b::text[], %(at)b::bigint[])
         AS wanted (chat_id, number, body, at),
         LATERAL (SELECT timestamptz 'epoch' + at * interval '1 millisecond' AS created_at) AS t
    ORDER BY chat_id, number
    ON CONFLICT (chat_id, number) DO NOTHING
    RETURNING chat_id
), moved AS (
    SELECT chat_id, count(*) AS messages FROM inserted GROUP BY chat_id
), locked AS (
    SELECT id FROM chats WHERE id IN (SELECT chat_id FROM moved)
    ORDER BY id FOR NO KEY UPDATE
), counted AS (
    UPDATE chats SET message_count = message_count + moved.messages
    FROM moved JOIN locked ON locked.id = moved.chat_id
    WHERE chats.id = moved.chat_id
)
SELECT coalesce(sum(messages), 0)::bigint, NULL, false FROM moved
"""
# The candidate before leaves the ends as they were.
CATCH_UP = """
UPDATE chats SET highest_number = last.number, last_message_id = last.id
FROM (SELECT DISTINCT ON (chat_id) chat_id, number, id FROM messages ORDER BY chat_id, number DESC)
    AS last
WHERE last.chat_id = chats.id AND highest_number <> last.number
"""
UPDATES = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'chats'"


@dataclass
class Candidate:
    """A way to store, and what was seen of it, each for a message."""

    label: str
    statement: str
    indexed: bool
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    log: list[float] = field(default_factory=list)
    updates: list[float] = field(default_factory=list)
    in_place: list[float] = field(default_factory=list)


def chat_ends(run: Run) -> None:
    """Batches that meet each of a thousand chats four times, and many chats once each."""
    with (
        BenchStack(fresh(run.data("chat-ends"))) as stack,
        stack.database() as connection,
        stack.redis() as stream,
    ):
        # As the persister's connection has it.
        connection.prepare_threshold = None
        connection.execute("SET jit = off")
        add = "INSERT INTO applications (access_token, name) VALUES (%s, 'bench')"
        connection.execute(add, (APPLICATION_TOKEN,))
        for chats in (run.sizes.chats, run.sizes.many_chats):
            Ends(run, connection, stream, chats).measure()


class Ends:
    """One database with a number of chats."""

    def __init__(
        self, run: Run, connection: psycopg.Connection, stream: redis.Redis, chats: int
    ) -> None:
        self.run, self.connection, self.stream, self.chats = run, connection, stream, chats
        self.random = random.Random(chats)
        self.numbers = [itertools.count(1) for _ in range(chats)]
        self.backend = psutil.Process(connection.info.backend_pid)
        now = store_sql.INSERT_MESSAGES
        self.candidates = [
            Candidate("before", BEFORE, indexed=False),
            Candidate("with ends", now, indexed=False),
            Candidate("with ends and index", now, indexed=True),
        ]

    def measure(self) -> None:
        """Turns in an order that changes, then the figures."""
        connection = self.connection
        connection.execute("TRUNCATE messages, chats CASCADE")
        connection.execute(
            "INSERT INTO chats (application_id, number) SELECT id, n "
            "FROM applications, generate_series(1, %s) AS n",
            (self.chats,),
        )
        for _ in range(self.run.sizes.ends_rounds):
            for candidate in self.random.sample(self.candidates, len(self.candidates)):
                with self.prepared(candidate):
                    self.turn(candidate)
        self.report()

    @contextmanager
    def prepared(self, candidate: Candidate) -> Iterator[None]:
        """The tables as a candidate has them after some time, and nothing left to others."""
        now, connection = store_sql.INSERT_MESSAGES, self.connection
        create = import_module("crud_service.chat.migrations.0010_active_chats").CREATE
        connection.execute("DROP INDEX IF EXISTS chats_activity_idx")
        connection.execute(CATCH_UP)
        if candidate.indexed:
            connection.execute(create)
        connection.execute("TRUNCATE search_outbox")
        connection.execute("VACUUM ANALYZE chats")
        connection.execute("CHECKPOINT")
        store_sql.INSERT_MESSAGES = candidate.statement
        try:
            for _ in range(WARM_UPS):
                self.accept()
                self.persist()
            yield
        finally:
            store_sql.INSERT_MESSAGES = now

    def turn(self, candidate: Candidate) -> None:
        """Persist some batches."""
        messages = MAX_ENTRIES * self.run.sizes.ends_batches
        before = self.read()
        for _ in range(self.run.sizes.ends_batches):
            self.accept()
            started = time.perf_counter()
            self.persist()
            candidate.seconds.append((time.perf_counter() - started) / MAX_ENTRIES)
        changes = [now - then for now, then in zip(self.read(), before, strict=True)]
        processor, log, updates, in_place = changes
        candidate.processor.append(processor / messages)
        candidate.log.append(log / messages)
        candidate.updates.append(updates)
        candidate.in_place.append(in_place)

    def accept(self) -> None:
        """Put as many entries into the stream as the persister stores at once."""
        if self.chats < MAX_ENTRIES:
            chats = [position % self.chats for position in range(MAX_ENTRIES)]
        else:
            chats = self.random.sample(range(self.chats), MAX_ENTRIES)
        with self.stream.pipeline(transaction=False) as pipeline:
            for chat in chats:
                number = next(self.numbers[chat])
                entry = Entry("", APPLICATION_TOKEN, chat + 1, number, BODY, "bench")
                pipeline.xadd(ACCEPTED, encode(entry))  # type: ignore[arg-type]
            pipeline.execute()

    def persist(self) -> None:
        """Read a batch, store it, and trim the stream."""
        batch = read_batch(self.stream)
        store(self.connection, batch.entries)
        self.stream.xtrim(ACCEPTED, minid=after(batch.last_id), approximate=False)

    def read(self) -> tuple[float, float, float, float]:
        """Processor time, bytes of log, updates of chats, and those in place (HOT)."""
        times = self.backend.cpu_times()
        self.connection.execute("SELECT pg_stat_force_next_flush()")
        (written,) = self.connection.execute(LOGGED).fetchone() or (0,)
        updates, in_place = self.connection.execute(UPDATES).fetchone() or (0, 0)
        return float(times.user + times.system), float(written), float(updates), float(in_place)

    def report(self) -> None:
        add = self.run.results.add
        before = statistics.median(self.candidates[0].seconds)
        extra_of = statistics.median(self.candidates[0].processor)
        for candidate in self.candidates:
            label = f"{self.chats:,} chats, {candidate.label}"
            processor = statistics.median(candidate.processor)
            add(f"{label}: stored", 1 / statistics.median(candidate.seconds), "/s")
            add(f"{label}: PostgreSQL's processor time", processor * 1e6, "µs each")
            add(f"{label}: written to the log", statistics.median(candidate.log), "B each")
            in_place = sum(candidate.in_place) / max(1, sum(candidate.updates))
            add(f"{label}: chats updated in place (HOT)", in_place * 100, "%")
            share = before / (before + processor - extra_of)
            bound = AT_LEAST if self.chats == self.run.sizes.chats else None
            add(f"{label}: rate that is left", share, "", at_least=bound)
