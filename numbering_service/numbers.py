"""The numbering script, and the one policy by which a batch is tried again."""

import asyncio
import time
from collections.abc import Sequence
from importlib.resources import files
from itertools import count
from secrets import token_hex
from typing import Any

from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from contract import keys
from contract.problems import KeyReused, NotFound, Overloaded, Problem, StoreUnavailable
from numbering_service.creation import Created, Creation
from numbering_service.metrics import BATCH_RETRIES, CREATED, REPLAYED
from numbering_service.script_connection import ScriptConnection

FIRST_PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.5

# Errors after which the same batch may go through a moment later.
_PASSING = (
    BusyLoadingError,
    ConnectionError,
    ReadOnlyError,
    TimeoutError,
    TryAgainError,
    OSError,
)

_MISSING_SEQUENCE, _KEY_REUSED, _STREAM_FULL, _UNKNOWN = 0, -1, -2, -4

Answer = Created | Problem | None
"""What became of a creation; None when its sequence is missing and must be seeded."""


class Numbers:
    """Hands out numbers, a batch at a time."""

    def __init__(self, redis_url: str, *, max_backlog: int, patience_seconds: float) -> None:
        prefix = token_hex(8)
        self._connection = ScriptConnection(
            redis_url, files("numbering_service").joinpath("numbers.lua").read_text()
        )
        self._batch_ids = (f"{prefix}-{number}" for number in count(1))
        self._patience = patience_seconds
        self._away_since: float | None = None
        self._settings = (
            max_backlog,
            keys.SEQUENCE_TTL_SECONDS,
            keys.IDEMPOTENCY_TTL_SECONDS,
            keys.BATCH_TTL_SECONDS,
            keys.WAKE_UP_TTL_MS,
        )

    async def next_numbers(self, creations: Sequence[Creation]) -> tuple[bool, list[Answer]]:
        """Number a batch; returns whether a persister has to be woken, and an answer for each.

        Raises StoreUnavailable when Redis stays away; what was asked is then
        there once or not at all.
        """
        script_keys, arguments = self._pack(creations)
        wake, *answers = await self._run(script_keys, arguments)
        CREATED.inc(sum(type(answer) is int and answer > 0 for answer in answers))
        REPLAYED.inc(sum(type(answer) is bytes for answer in answers))
        return wake == 1, [read_answer(answer) for answer in answers]

    async def aclose(self) -> None:
        """Close the connection to Redis."""
        await self._connection.aclose()

    def _pack(self, creations: Sequence[Creation]) -> tuple[list[str], list[Any]]:
        # The id under which the script keeps its answer: a retry after a lost
        # reply finds it there, and nothing is done twice.
        batch_id = keys.batch(next(self._batch_ids))
        script_keys = [keys.ACCEPTED, batch_id, keys.LEASE_PERSIST, keys.WAKE_UP_PERSIST]
        arguments: list[Any] = list(self._settings)
        for creation in creations:
            script_keys += creation.script_keys()
            arguments += creation.script_arguments()
        return script_keys, arguments

    async def _run(self, script_keys: list[str], arguments: list[Any]) -> list[int | bytes]:
        """Run the script, waiting out a restart of Redis.

        A server that has been away for longer than our patience gets one try a
        batch, so that requests are refused at once and not after a wait each.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            started = time.monotonic()
            try:
                answers: list[int | bytes] = await self._connection.call(script_keys, arguments)
            except OutOfMemoryError as error:
                raise Overloaded("Redis is out of memory; nothing was changed.") from error
            except _PASSING as error:
                self._away_since = self._away_since or started
                if time.monotonic() + pause - self._away_since > self._patience:
                    raise away() from error
                BATCH_RETRIES.inc()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            except (ResponseError, RedisError) as error:
                raise away() from error
            else:
                self._away_since = None
                return answers


def away() -> StoreUnavailable:
    """The answer when the outcome of a batch is not known."""
    return StoreUnavailable(
        "Redis is away, so it is not known whether this was created. Repeat the request with "
        "the same Idempotency-Key to create it once.",
        retry_after=2,
    )


def read_answer(answer: int | bytes) -> Answer:
    """What an answer of the script means."""
    if isinstance(answer, bytes):
        return Created(int(answer), replayed=True)
    if answer > 0:
        return Created(answer)
    if answer == _MISSING_SEQUENCE:
        return None
    if answer == _KEY_REUSED:
        return KeyReused()
    if answer == _UNKNOWN:
        return NotFound()
    if answer == _STREAM_FULL:
        return Overloaded("Too many creations wait to be stored; nothing was changed.")
    return StoreUnavailable("Redis refused the entry; nothing was changed.")
