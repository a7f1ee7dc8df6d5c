"""Creations are answered in time, and the service stops in time, while sequences are missing."""

import asyncio
import json
from time import monotonic, perf_counter
from typing import cast

from contract import keys
from numbering_service.creation import Creation
from numbering_service.creations.access_log import AccessLog
from numbering_service.creations.batching import Batcher
from numbering_service.creations.creating import Creations
from numbering_service.seeding import Seeding
from tests.integration.numbering.surroundings import MESSAGES, A, Valkey, batching, freeze
from web.server.head import Headers


class Asked:
    """A request for a message, without HTTP; records its answer."""

    method, query, is_disconnected = "POST", b"", False

    def __init__(self, path: str = MESSAGES) -> None:
        self.path = path
        self.headers: Headers = [(b"content-type", b"application/json")]
        self.body = b'{"body": "hello"}'
        self.started = perf_counter()
        self.answers: list[tuple[int, str]] = []

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
            async with asyncio.timeout(10):
                while not (first.answers and late.answers):
                    await asyncio.sleep(0.01)
            await creations.drain(0)

    asyncio.run(scenario())
    for asked in (first, late):
        [(status, detail)] = asked.answers
        assert status == 503
        assert "nothing was changed" in detail


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
                started = monotonic()
                await creations.drain(3)
                return monotonic() - started
            finally:
                valkey.thaw()

    assert asyncio.run(scenario()) < 5
    assert [len(asked.answers) for asked in (unseeded, unanswered)] == [1, 1]
