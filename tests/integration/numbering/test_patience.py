"""Creations are answered in time, and the service stops in time, while sequences are missing."""

import asyncio
import json
from collections.abc import Callable
from time import perf_counter
from typing import cast

from contract import keys
from numbering_service.creation import Creation
from numbering_service.creations.access_log import AccessLog
from numbering_service.creations.batching import Batcher
from numbering_service.creations.creating import LARGE_BYTES, MAX_LARGE_SECONDS, Creations
from numbering_service.creations.shares import Shares
from numbering_service.seeding import Seeding
from tests.integration.numbering.surroundings import MESSAGES, A, Valkey, batching, freeze
from tests.stopwatch import Stopwatch
from web.server.head import Headers


class Asked:
    """A request for a message, without HTTP; records its answer."""

    id, method, query, head_bytes = "", "POST", b"", 0

    def __init__(self, path: str = MESSAGES) -> None:
        self.path = path
        self.headers: Headers = [(b"content-type", b"application/json")]
        self.body = b'{"body": "hello"}'
        self.started = perf_counter()
        self.answers: list[tuple[int, str]] = []
        self.is_disconnected = False
        self.on_disconnect: Callable[[], None] | None = None

    def drop_body(self) -> None:
        self.body = b""

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        self.answers.append((status, json.loads(body).get("detail", "")))


class EndlessSeeding:
    """Seeding that waits for a lock that is never released."""

    async def seed_sequence(self, creation: Creation) -> None:
        await asyncio.Event().wait()


def creations_of(batcher: Batcher, patience_seconds: float) -> Creations:
    log = AccessLog(shown=False)
    return Creations(
        batcher,
        cast("Seeding", EndlessSeeding()),
        log,
        waiting=Shares(100, 1024 * 1024),
        public_url="",
        max_seeding=100,
        patience_seconds=patience_seconds,
    )


def test_a_creation_is_refused_when_its_patience_runs_out(valkey: Valkey) -> None:
    first, late = Asked(), Asked(f"/applications/{A}/chats/2/messages")
    late.started -= 100

    async def scenario() -> None:
        async with batching(valkey.url) as batcher:
            creations = creations_of(batcher, 1)
            assert creations.handle(first)
            assert creations.handle(late)
            async with asyncio.timeout(60):
                while not (first.answers and late.answers):
                    await asyncio.sleep(0.01)
            await creations.drain(0)

    asyncio.run(scenario())
    for asked in (first, late):
        [(status, detail)] = asked.answers
        assert status == 503
        assert "nothing was changed" in detail


def test_a_large_request_is_not_read_after_its_client_has_waited_too_long(valkey: Valkey) -> None:
    """It is refused unread when its application sends more than can be read."""
    bulk, message = Asked(f"{MESSAGES}/bulk"), Asked()
    message.body = b'{"body": "' + b"x" * LARGE_BYTES + b'"}'
    for asked in (bulk, message):
        asked.started -= MAX_LARGE_SECONDS

    async def scenario() -> None:
        async with batching(valkey.url) as batcher:
            creations = creations_of(batcher, 60)
            assert creations.handle(bulk)
            assert creations.handle(message)
            await creations.drain(0)

    asyncio.run(scenario())
    for asked in (bulk, message):
        [(status, detail)] = asked.answers
        assert status == 503
        assert "More large requests" in detail


def test_a_large_request_takes_no_memory_once_its_client_has_left(valkey: Valkey) -> None:
    left = Asked(f"{MESSAGES}/bulk")

    async def scenario() -> None:
        async with batching(valkey.url) as batcher:
            creations = creations_of(batcher, 60)
            assert creations.handle(left)
            left.is_disconnected = True
            assert left.on_disconnect is not None
            left.on_disconnect()
            assert left.body == b""
            await creations.drain(0)

    asyncio.run(scenario())
    assert left.answers == []


def test_the_end_waits_once_for_seedings_and_batches_together(valkey: Valkey) -> None:
    valkey.client.set(keys.message_sequence(A, 2), 0)
    unseeded, unanswered = Asked(), Asked(f"/applications/{A}/chats/2/messages")

    async def scenario() -> float:
        async with batching(valkey.url) as batcher:
            creations = creations_of(batcher, 60)
            creations.handle(unseeded)
            await batcher.drain(5)
            freeze(valkey.pid)
            try:
                creations.handle(unanswered)
                with Stopwatch() as watch:
                    await creations.drain(6)
                return watch.seconds
            finally:
                valkey.thaw()

    assert asyncio.run(scenario()) < 11
    assert [len(asked.answers) for asked in (unseeded, unanswered)] == [1, 1]
