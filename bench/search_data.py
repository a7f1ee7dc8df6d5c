"""The messages that are searched, kept between runs, and what plain Python finds in them."""

import hashlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench import dataset
from bench.backlog import waiting_for_index
from bench.dataset import APPLICATION_TOKEN, fill
from bench.results import say
from bench.running_stack import wait_until
from bench.scenario import Run
from bench.stack import BenchStack, fresh
from bench.tools import BenchError
from crud_service.search.text.folding import mark, split_parts
from local_stack.applications import ROOT

LONGEST_CHAT = 1
OTHER_CHATS = 30
LIMIT = 1000
# The modules that decide what is stored for a search; a change makes the data outdated.
DECIDING = (
    "text/folding",
    "text/grams",
    "index/blocks",
    "index/documents",
    "index/elasticsearch_index",
)
SAY_EVERY_SECONDS = 10
INDEXING_SECONDS = 3600
MERGING_SECONDS = 600

Row = tuple[int, str]


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat's messages as they are compared: number and marked text."""

    number: int
    rows: list[Row]

    def find(self, keyword: str) -> list[int]:
        """The numbers of the messages that match, best first: every row looked at."""
        parts = split_parts(keyword)
        ranked = [
            (sum((part.start in text) + (part.whole in text) for part in parts), number)
            for number, text in self.rows
            if all(part.inside in text for part in parts)
        ]
        return [number for _, number in sorted(ranked, reverse=True)]

    def holds(self, keyword: str) -> bool:
        """Whether any message matches a keyword of one part."""
        (part,) = split_parts(keyword)
        return any(part.inside in text for _, text in self.rows)


def prepare(run: Run) -> Path:
    """The stack's directory with everything stored and indexed, made again when it is outdated."""
    directory = run.data("search")
    stamp = directory / "dataset"
    if stamp.exists() and stamp.read_text() == fingerprint(run):
        return directory
    with BenchStack(fresh(directory), with_elasticsearch=True) as stack:
        size = run.sizes.search
        say(f"   storing {size.messages:,} messages, once …")
        with stack.database() as connection, connection.transaction():
            fill(connection, size)
        with stack.database() as connection:
            connection.execute("VACUUM (ANALYZE) messages")
        with stack.during(stack.run("worker")):
            wait_until_indexed(stack)
            if not stack.why_no_elasticsearch:
                wait_until_merged(stack)
        with stack.database() as connection:
            connection.execute("VACUUM (ANALYZE)")
    # Without Elasticsearch its index is missing: a later run that has one is to build it.
    if not stack.why_no_elasticsearch:
        stamp.write_text(fingerprint(run))
    return directory


def wait_until_indexed(stack: BenchStack) -> None:
    """Wait for the worker, telling how far it is."""
    began, said = time.monotonic(), 0.0
    while left := waiting_for_index(stack):
        passed = time.monotonic() - began
        if passed > INDEXING_SECONDS:
            raise BenchError(f"{left:,} messages were not indexed within {passed:.0f} s")
        if passed - said > SAY_EVERY_SECONDS:
            say(f"   indexing, {left:,} are left …")
            said = passed
        time.sleep(0.5)


def wait_until_merged(stack: BenchStack) -> None:
    """Wait for the merges that Elasticsearch has begun by itself: ended now, they stay undone."""
    url = f"{stack.environment['ELASTICSEARCH_URL']}/messages/_stats/merge"
    with httpx.Client(trust_env=False, timeout=30) as client:

        def is_merged() -> bool:
            merges = client.get(url).raise_for_status().json()["_all"]["total"]["merges"]
            return bool(merges["current"] == 0)

        wait_until(is_merged, MERGING_SECONDS, "Elasticsearch merges")


def fingerprint(run: Run) -> str:
    """What the stored data depend on: sizes, texts, tables, and how text is folded."""
    sources = [Path(dataset.__file__)]
    sources += [ROOT / "crud_service" / "search" / f"{name}.py" for name in DECIDING]
    sources += sorted((ROOT / "crud_service" / "chat" / "migrations").glob("0*.py"))
    digest = hashlib.sha256(repr(run.sizes.search).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


def read_chats(run: Run, stack: BenchStack) -> Iterator[Chat]:
    """The longest chat, and some of the others."""
    others = random.Random(4).sample(
        range(2, run.sizes.search.chats + 1), min(OTHER_CHATS, run.sizes.search.chats - 1)
    )
    query = """
        SELECT m.number, m.body FROM applications a
        JOIN chats c ON c.application_id = a.id AND c.number = %s
        JOIN messages m ON m.chat_id = c.id WHERE a.access_token = %s"""
    with stack.database() as connection:
        for chat in (LONGEST_CHAT, *others):
            rows = connection.execute(query, (chat, APPLICATION_TOKEN)).fetchall()
            yield Chat(chat, [(number, mark(body)) for number, body in rows])
