"""Gathered reads of long resources: the event loop does other work between their answers."""

import asyncio
from collections.abc import Sequence
from typing import Any

from crud_service.reads.gathered_reads import STEP_BYTES, GatheredReads
from web.problems import Problem

LONG = b"x" * (STEP_BYTES // 3)
READERS = 200


class LongRows:
    """Finds a long row for each key."""

    def __init__(self) -> None:
        self.found: list[int] = []

    async def fetch(self, _statement: str, parameters: Sequence[str]) -> list[tuple[Any, ...]]:
        rows = [(LONG,) for _ in parameters[0].split(",")]
        self.found.append(len(rows))
        return rows

    async def close(self) -> None: ...


class Reader:
    """Counts what was answered since the event loop did other work."""

    answered = 0
    key = ("key",)

    def settle(self, found: bytes | Problem | None) -> None:
        assert isinstance(found, bytes)
        Reader.answered += len(found)


def test_answers_of_long_resources_let_the_loop_do_other_work() -> None:
    async def longest_step() -> int:
        reads = GatheredReads("", LongRows())
        for _ in range(READERS):
            reads.find(Reader())
        total, longest = 0, 0
        while total < READERS * len(LONG):
            await asyncio.sleep(0)
            longest = max(longest, Reader.answered)
            total += Reader.answered
            Reader.answered = 0
        return longest

    assert asyncio.run(longest_step()) <= STEP_BYTES + len(LONG)


def test_statements_that_find_long_resources_find_few() -> None:
    rows = LongRows()

    async def read() -> None:
        reads = GatheredReads("", rows, most_at_once=16)
        Reader.answered = 0
        for _ in range(READERS):
            reads.find(Reader())
        while Reader.answered < READERS * len(LONG):
            await asyncio.sleep(0)

    asyncio.run(read())
    assert rows.found[:3] == [16, 8, 4]
    assert max(rows.found[3:]) <= 4
