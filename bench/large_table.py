"""What statements cost PostgreSQL in a table of many messages, in one piece and in partitions.

Counted are the processor time of the connection that executes them, the blocks that it touches, and
the log that the whole server writes meanwhile: other work on the machine disturbs them less than it
does clocks. Each is the persister's or the API's own statement. Both tables hold the same messages,
and take turns.
"""

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import orjson
import psutil
import psycopg

from bench.dataset import APPLICATION_TOKEN
from bench.results import Results
from bench.tools import BenchError
from contract.entries import Entry
from crud_service.chat.list_queries import MESSAGES, ScanOrder, list_query
from crud_service.persist.store import store

PARTITIONS = 32
TURNS = 3
PAGES, BATCHES, SINGLES = 1_000, 20, 300
# More than PostgreSQL executes of a prepared statement before it keeps the plan.
WARM_UPS = 8
BATCH = 500
MICROSECONDS = 1e6
ONE_TABLE = "one table"
BODY = "Hello there, this is a message of the ordinary length of a chat."

# Rows keep their order, in which messages of different chats arrived. No statement of a hot path
# asks for a message by its id alone, so partitions need no index of ids.
DIVIDE = f"""
CREATE TABLE messages_divided (LIKE messages INCLUDING DEFAULTS) PARTITION BY HASH (chat_id);
DO $$
BEGIN
    FOR part IN 0..{PARTITIONS - 1} LOOP
        EXECUTE format('CREATE TABLE messages_%s PARTITION OF messages_divided FOR VALUES'
            ' WITH (MODULUS {PARTITIONS}, REMAINDER %s)', part, part);
    END LOOP;
END $$;
INSERT INTO messages_divided SELECT * FROM messages ORDER BY id;
ALTER TABLE messages_divided ADD UNIQUE (chat_id, number);
CREATE INDEX ON messages_divided (chat_id, change) WHERE change > 0;
CREATE INDEX ON messages_divided (chat_id, sender, number) WHERE sender IS NOT NULL;
CREATE TRIGGER messages_inserted AFTER INSERT ON messages_divided
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION enqueue_messages();
CREATE TRIGGER messages_timed AFTER INSERT ON messages_divided
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION note_time_order();
ALTER TABLE messages_divided
    ADD FOREIGN KEY (chat_id) REFERENCES chats DEFERRABLE INITIALLY DEFERRED;
"""
EXCHANGE = """
ALTER TABLE messages RENAME TO messages_aside;
ALTER TABLE messages_divided RENAME TO messages;
ALTER TABLE messages_aside RENAME TO messages_divided;
"""
LOGGED = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
NEXT = "SELECT highest_number + 1 FROM chats WHERE number = %s"
# Not the chat's own highest number: what the other table got in its turns is not in this one.
HIGHEST = """
SELECT max(m.number) FROM messages m JOIN chats c ON c.id = m.chat_id WHERE c.number = %s
"""
PAGE = 100


Figures = dict[tuple[str, str], list[float]]


@dataclass
class Table:
    """Chats to read and to write, and what was seen of a table in each turn.

    `small_chats` are as many as a batch has messages.
    """

    url: str
    large_chat: int
    small_chats: Iterable[int]
    figures: Figures = field(default_factory=lambda: defaultdict(list))

    def add_to(self, results: Results, name: str) -> None:
        """Add the medians of the turns, with a name in front."""
        for (figure, unit), values in self.figures.items():
            results.add(f"{name}: {figure}", statistics.median(values), unit)


class Probe:
    """A connection as the services have one, and what its work costs.

    `prepares_after` is how often a statement is executed before it is prepared, None for never.
    """

    def __init__(self, table: Table, prepares_after: int | None = None) -> None:
        self.connection = psycopg.connect(table.url, autocommit=True)
        self.connection.prepare_threshold = prepares_after
        self.connection.execute("SET jit = off")
        self._process = psutil.Process(self.connection.info.backend_pid)
        self._figures = table.figures

    def add(self, figure: str, value: float, unit: str) -> None:
        self._figures[figure, unit].append(value)

    def cost(self, figure: str, times: int, work: Callable[[], object]) -> None:
        """Add the processor time of something that is done several times."""
        for _ in range(WARM_UPS):
            work()
        before = self._seconds()
        for _ in range(times):
            work()
        self.add(figure, (self._seconds() - before) / times * MICROSECONDS, "µs")

    def logged(self) -> int:
        [(position,)] = self.connection.execute(LOGGED).fetchall()
        return int(position)

    def _seconds(self) -> float:
        spent = self._process.cpu_times()
        return float(spent.user + spent.system)


def measure_in_turns(
    table: Table, divided: Table, results: Results, exchange: Callable[[], object]
) -> None:
    """Measure the table and its divided copy, which `exchange` puts in its place and back."""
    for _ in range(TURNS):
        for each in (table, divided):
            measure_table(each)
            exchange()
    table.add_to(results, ONE_TABLE)
    divided.add_to(results, f"{PARTITIONS} partitions")


def measure_alone(table: Table, results: Results) -> None:
    """Measure the table alone, as often."""
    for _ in range(TURNS):
        measure_table(table)
    table.add_to(results, ONE_TABLE)


def measure_table(table: Table) -> None:
    """Measure pages and batches in the table as it is, and a vacuum behind them."""
    reader = Probe(table, prepares_after=2)
    with reader.connection as connection:
        [(highest,)] = connection.execute(HIGHEST, (table.large_chat,)).fetchall()
        for place, low in {"first": 1, "middle": highest // 2, "last": highest - PAGE + 1}.items():
            measure_page(reader, table.large_chat, place, low)
    probe = Probe(table)
    with probe.connection as connection:
        [(behind,)] = connection.execute(NEXT, (table.large_chat,)).fetchall()
        numbers = itertools.count(behind)
        probe.cost(
            "a batch of 1",
            SINGLES,
            lambda: store(connection, [entry(table.large_chat, next(numbers))]),
        )
        measure_batches(
            probe,
            "one chat",
            lambda: [entry(table.large_chat, next(numbers)) for _ in range(BATCH)],
        )
        chats = list(table.small_chats)
        [(behind,)] = connection.execute(NEXT, (chats[0],)).fetchall()
        rounds = itertools.count(behind)
        measure_batches(probe, "as many chats", lambda: one_of_each(chats, next(rounds)))
        started = time.perf_counter()
        connection.execute("VACUUM (ANALYZE) messages")
        probe.add("vacuum behind them", time.perf_counter() - started, "s")


def one_of_each(chats: Iterable[int], number: int) -> list[Entry]:
    return [entry(chat, number) for chat in chats]


def entry(chat: int, number: int) -> Entry:
    """A message whose time is the present, as the stream would have it."""
    return Entry(f"{time.time_ns() // 10**6}-0", APPLICATION_TOKEN, chat, number, BODY, "")


def measure_page(probe: Probe, chat: int, place: str, low: int) -> None:
    """Add the processor time and the blocks of a page that begins at a number and is full."""
    sql = list_query(MESSAGES, ScanOrder())
    values = {
        "access_token": APPLICATION_TOKEN,
        "chat_number": str(chat),
        "low": str(low),
        "high": str(2**63 - 1),
        "limit": PAGE,
    }
    connection = probe.connection
    [row] = connection.execute(sql, values).fetchall()
    if len(orjson.loads(f"[{row[3] or ''}]")) != PAGE:
        raise BenchError(f"the {place} page is not full")
    probe.cost(f"{place} page of {PAGE}", PAGES, lambda: connection.execute(sql, values).fetchall())
    statement = psycopg.ClientCursor(connection).mogrify(sql, values)
    explain = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
    [([plan],)] = connection.execute(explain).fetchall()
    whole = plan["Plan"]
    blocks = whole["Shared Hit Blocks"] + whole["Shared Read Blocks"]
    probe.add(f"{place} page of {PAGE}: blocks", blocks, "")


def measure_batches(probe: Probe, chats: str, draw: Callable[[], list[Entry]]) -> None:
    """Add the processor time and the log of batches."""
    before = probe.logged()
    probe.cost(f"a batch of {BATCH} in {chats}", BATCHES, lambda: store(probe.connection, draw()))
    written = (probe.logged() - before) / ((BATCHES + WARM_UPS) * BATCH)
    probe.add(f"a batch of {BATCH} in {chats}: log for each message", written, "B")
