"""PostgreSQL's own index of trigrams beside our blocks of grams, on the same folded texts.

Three candidates: `search_blocks`; pg_trgm on the text; and pg_trgm behind the chat's id in one
index (btree_gin), so that a search never meets the entries of other chats. Folding is not
measured: all of them need the same text. Candidates take turns, and a figure is the median.

Each is planned as suits it best. Blocks are searched with generic plans, as the API does;
which plan is good for LIKE depends on the pattern, so it is planned for each.
"""

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psycopg

from bench.dataset import make_bodies, make_chats
from bench.results import say
from bench.scenario import Run
from bench.search import LETTERS, a_hit, a_miss
from bench.search_data import Chat
from bench.stack import BenchStack, fresh
from crud_service.postgresql import REQUESTS
from crud_service.search.index.blocks import cover_long_chats, lock_chats
from crud_service.search.index.late_keys import LateKeys
from crud_service.search.query.narrowing import Narrowed
from crud_service.search.query.plan import Hit, Level, Plan, forms
from crud_service.search.query.query_postgresql import READ_THROUGH, bind, find_hits, name, write
from crud_service.search.text.folding import mark, split_parts
from crud_service.search.text.texts import Text, columns

BATCH = 1000
LIMIT = 51
WARM_UPS = 5
OTHER_CHATS = 30
EXTENSIONS = ("pg_trgm", "btree_gin")
INSERT = """
INSERT INTO search_texts (chat_id, number, message_id, version, marked)
SELECT chat_id, number, 0, 1, marked
FROM unnest(%s::bigint[], %s::bigint[], %s::text[]) AS rows (chat_id, number, marked)
"""
EMPTY = "TRUNCATE search_texts, search_chats, search_blocks"

Row = tuple[int, int, str]  # chat id, number, marked text


@dataclass(frozen=True, slots=True)
class Candidate:
    """A way to index texts: the index it creates, if it is one of PostgreSQL's."""

    label: str
    index: str = ""

    @property
    def index_name(self) -> str:
        return self.label.replace(" ", "_").replace(",", "")

    def create(self, connection: psycopg.Connection) -> None:
        if self.index:
            statement = f"CREATE INDEX {self.index_name} ON search_texts USING gin ({self.index})"
            connection.execute(statement)

    def drop(self, connection: psycopg.Connection) -> None:
        if self.index:
            connection.execute(f"DROP INDEX IF EXISTS {self.index_name}")

    def size(self, connection: psycopg.Connection) -> int:
        """Return the bytes on disk beyond those of the texts."""
        table = self.index_name if self.index else "search_blocks"
        row = connection.execute("SELECT pg_total_relation_size(%s::regclass)", (table,)).fetchone()
        assert row
        return int(row[0])

    @property
    def plan_mode(self) -> str:
        return "force_custom_plan" if self.index else "force_generic_plan"

    def find(self, connection: psycopg.Connection, plan: Plan, blocks: int) -> list[Hit]:
        return find_like(connection, plan) if self.index else find_hits(connection, plan, blocks)


BLOCKS = Candidate("blocks")
TRIGRAMS = (
    Candidate("pg_trgm", "marked gin_trgm_ops"),
    Candidate("chat, pg_trgm", "chat_id, marked gin_trgm_ops"),
)
CANDIDATES = (BLOCKS, *TRIGRAMS)


def grams(run: Run) -> None:
    """The whole scenario; says so in one line where the extensions are missing."""
    with BenchStack(fresh(run.data("grams"))) as stack, connect(stack) as connection:
        if missing := missing_extensions(connection):
            say(f"   SKIPPED: this PostgreSQL has no {' and no '.join(missing)}")
            return
        for extension in EXTENSIONS:
            connection.execute(f"CREATE EXTENSION {extension}")
        rows = make_rows(run)
        measure_writes(run, connection, rows)
        prepare_searches(connection, rows)
        measure_searches(run, connection, read_chats(rows))


def connect(stack: BenchStack) -> psycopg.Connection:
    """Open a connection with the API's settings; only the limits on time are lifted."""
    options = f"{REQUESTS['options']} -c statement_timeout=0 -c lock_timeout=0"
    url = stack.environment["DATABASE_URL"]
    return psycopg.connect(url, autocommit=True, options=options, prepare_threshold=0)


def missing_extensions(connection: psycopg.Connection) -> list[str]:
    names = connection.execute("SELECT name FROM pg_available_extensions").fetchall()
    return [extension for extension in EXTENSIONS if (extension,) not in names]


def make_rows(run: Run) -> list[Row]:
    """Folded texts of the longest chat, whose id is 1, and of the others, as they arrive."""
    rng, size = random.Random(1), run.sizes.grams
    chats = make_chats(rng, size)
    numbers = dict.fromkeys(chats, 0)
    rows = []
    for chat, body in zip(chats, make_bodies(rng, size.messages), strict=True):
        numbers[chat] += 1
        rows.append((chat, numbers[chat], mark(body)))
    return rows


def batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


def measure_writes(run: Run, connection: psycopg.Connection, rows: Sequence[Row]) -> None:
    """Rows per second in batches like the indexer's, and the size that this leaves on disk."""
    plain = Candidate("texts alone", "")
    rates: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    for _ in range(run.sizes.grams_rounds):
        for candidate in (plain, *CANDIDATES):
            connection.execute(EMPTY)
            candidate.create(connection)
            connection.execute("CHECKPOINT")
            began = time.perf_counter()
            for batch in batches(rows):
                write_batch(connection, batch, with_blocks=candidate is BLOCKS)
            rates.setdefault(candidate.label, []).append(len(rows) / (time.perf_counter() - began))
            if candidate is not plain:
                connection.execute("VACUUM ANALYZE search_texts, search_blocks")
                sizes[candidate.label] = candidate.size(connection)
            candidate.drop(connection)
    for label, seen in rates.items():
        run.results.add(f"{label}: written", statistics.median(seen), "rows/s")
    for label, size in sizes.items():
        run.results.add(f"{label}: on disk", size / 1e6, "MB")


def write_batch(connection: psycopg.Connection, batch: Sequence[Row], *, with_blocks: bool) -> None:
    """Store a batch in one transaction, with its blocks as the indexer writes them."""
    chats = {chat_id for chat_id, _number, _marked in batch}
    texts = [Text(chat_id, number, 0, 1, marked) for chat_id, number, marked in batch]
    late_keys = LateKeys(connection, texts) if with_blocks else None
    with connection.transaction():
        covered = lock_chats(connection, list(chats)) if late_keys else {}
        connection.execute(INSERT, columns(batch, 3))
        if late_keys:
            late_keys.add(connection, covered, {(text.chat_id, text.number) for text in texts})
    if with_blocks:
        highest = {chat_id: number for chat_id, number, _marked in batch}
        cover_long_chats(connection, highest, covered)


def prepare_searches(connection: psycopg.Connection, rows: Sequence[Row]) -> None:
    """Store the texts once more, with everything that any candidate searches by."""
    connection.execute(EMPTY)
    for batch in batches(rows):
        write_batch(connection, batch, with_blocks=True)
    for candidate in CANDIDATES:
        candidate.create(connection)
    connection.execute("VACUUM ANALYZE")


def read_chats(rows: Sequence[Row]) -> list[Chat]:
    """The longest chat, and some of the others."""
    chats: dict[int, list[tuple[int, str]]] = {}
    for chat_id, number, marked in rows:
        chats.setdefault(chat_id, []).append((number, marked))
    others = random.Random(4).sample(sorted(chats.keys() - {1}), min(OTHER_CHATS, len(chats) - 1))
    return [Chat(chat_id, chats[chat_id]) for chat_id in (1, *others)]


def measure_searches(run: Run, connection: psycopg.Connection, chats: Sequence[Chat]) -> None:
    """Median and worst time of a first page, the same keywords for all; compares the answers."""
    rng, differ, asked = random.Random(5), 0, 0
    for place, where in (("one chat", chats[:1]), ("many chats", chats[1:])):
        for letters in LETTERS:
            for kind, choose in (("hits", a_hit), ("none", a_miss)):
                picked = [rng.choice(where) for _ in range(run.sizes.grams_keywords)]
                plans = [plan_of(chat, choose(rng, chat, letters)) for chat in picked]
                label = f"{place}, {letters} letter{'s' if letters > 1 else ''}, {kind}"
                differ += take_turns(run, connection, label, plans)
                asked += len(plans)
    run.results.add(f"keywords of {asked} answered differently", differ, "", at_most=0)


def plan_of(chat: Chat, keyword: str) -> Plan:
    return Plan(chat.number, tuple(split_parts(keyword)), LIMIT, ranked=True)


def take_turns(run: Run, connection: psycopg.Connection, label: str, plans: Sequence[Plan]) -> int:
    """Time each plan with each candidate in turn; return how many got different answers."""
    times: dict[str, list[float]] = {candidate.label: [] for candidate in CANDIDATES}
    answers: list[list[list[Hit]]] = []
    for _ in range(run.sizes.grams_rounds):
        for candidate in CANDIDATES:
            found = []
            with connection.transaction(force_rollback=True):
                # The planner sees the candidate's index alone.
                for other in TRIGRAMS:
                    if other is not candidate:
                        other.drop(connection)
                connection.execute(f"SET LOCAL plan_cache_mode = {candidate.plan_mode}")
                for plan in plans[:WARM_UPS]:
                    candidate.find(connection, plan, covered(connection, plan))
                for plan in plans:
                    began = time.perf_counter()
                    found.append(candidate.find(connection, plan, covered(connection, plan)))
                    times[candidate.label].append((time.perf_counter() - began) * 1000)
            answers.append(found)
    for name_of, seen in times.items():
        run.results.add(f"{label}, {name_of}: p50", statistics.median(seen), "ms")
        run.results.add(f"{label}, {name_of}: p95", statistics.quantiles(seen, n=20)[-1], "ms")
    return sum(any(other[i] != hits for other in answers) for i, hits in enumerate(answers[0]))


def covered(connection: psycopg.Connection, plan: Plan) -> int:
    """Return how many blocks of the chat are covered, as each search of the API reads it."""
    query = "SELECT blocks FROM search_chats WHERE chat_id = %s"
    row = connection.execute(query, (plan.chat_id,)).fetchone()
    return row[0] if row else 0


def find_like(connection: psycopg.Connection, plan: Plan) -> list[Hit]:
    """Find the first hits with LIKE, which is what an index of trigrams can serve."""
    parameters = bind(plan, Narrowed(), 0, ())
    conditions = []
    for position, part in enumerate(plan.parts):
        alternatives = []
        for i, form in enumerate(forms(part, Level.INSIDE)):
            like = f"like_{name(Level.INSIDE, position, i)}"
            parameters[like] = f"%{escape(form)}%"
            alternatives.append(f"marked LIKE %({like})s")
        conditions.append(f"({' OR '.join(alternatives)})")
    statement = write(READ_THROUGH.replace("{inside}", " AND ".join(conditions)), plan, Narrowed())
    return [Hit(*row) for row in connection.execute(statement, parameters)]


def escape(form: str) -> str:
    """Return a form in which LIKE sees no pattern."""
    for special in ("\\", "%", "_"):
        form = form.replace(special, "\\" + special)
    return form
