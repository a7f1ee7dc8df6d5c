"""Gathered reads of long resources: the event loop does other work between their answers."""

import asyncio
from collections.abc import Sequence
from typing import Any

from crud_service.reads.gathered_reads import FEW_AT_ONCE, MOST_AT_ONCE, STEP_BYTES, GatheredReads
from web.problems import Problem

LONG = b"x" * (STEP_BYTES // 3)
READERS = 200


class Rows:
    """Finds the same row for each key."""

    def __init__(self, row: bytes) -> None:
        self.row = row
        self.found: list[int] = []

    async def fetch(self, _statement: str, parameters: Sequence[str]) -> list[tuple[Any, ...]]:
        await asyncio.sleep(0)
        rows = [(self.row,) for _ in parameters[0].split(",")]
        self.found.append(len(rows))
        return rows

    async def close(self) -> None: ...


class Answered:
    """The bytes that were answered."""

    total = 0


class Reader:
    key = ("key",)

    def __init__(self, answered: Answered) -> None:
        self._answered = answered

    def settle(self, found: bytes | Problem | None) -> None:
        assert isinstance(found, bytes)
        self._answered.total += len(found)


async def read(rows: Rows, answered: Answered, readers: int = READERS) -> None:
    """Read until all are answered, in steps of the event loop."""
    reads = GatheredReads("", rows)
    for _ in range(readers):
        reads.find(Reader(answered))
    while answered.total < readers * len(rows.row):
        await asyncio.sleep(0)


def test_answers_of_long_resources_let_the_loop_do_other_work() -> None:
    answered, longest = Answered(), 0

    async def look() -> None:
        nonlocal longest
        reading, before = asyncio.create_task(read(Rows(LONG), answered)), 0
        while not reading.done():
            await asyncio.sleep(0)
            longest, before = max(longest, answered.total - before), answered.total

    asyncio.run(look())
    assert longest <= STEP_BYTES + len(LONG)


def test_statements_that_find_long_resources_find_few() -> None:
    rows = Rows(LONG)
    asyncio.run(read(rows, Answered()))
    assert rows.found[:3] == [FEW_AT_ONCE, FEW_AT_ONCE // 2, FEW_AT_ONCE // 4]
    assert max(rows.found[3:]) <= FEW_AT_ONCE // 4


def test_statements_that_find_short_resources_find_many() -> None:
    rows = Rows(b"short")
    asyncio.run(read(rows, Answered(), 1000))
    assert rows.found[:5] == [FEW_AT_ONCE * 2**n for n in range(4)] + [MOST_AT_ONCE]
