"""Announcements of changed chats are listened to for good, and every gap in it is noticed."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest
import redis
import redis.asyncio

from contract.changed_chats import ChangedChats, encode
from contract.keys import CHANGED_CHATS
from crud_service.live.subscription import Subscription
from crud_service.stores.redis_clients import listener_of
from tests.links import Link, Links

CHECK_SECONDS = 0.5
PATIENCE_SECONDS = 20.0


@pytest.fixture
def link(links: Links, redis_url: str) -> Link:
    port = urlsplit(redis_url).port
    assert port is not None
    return links.add(lambda: port)


class Listening:
    """A subscription through a link, what it heard, and how many gaps it noticed."""

    def __init__(self, link: Link, redis_url: str) -> None:
        address = urlsplit(redis_url)
        self._redis = redis.Redis.from_url(redis_url)
        self._through = address._replace(netloc=f"127.0.0.1:{link.port}").geturl()
        self.heard: list[ChangedChats] = []
        self.gaps = 0

    async def __aenter__(self) -> "Listening":
        self._subscription = Subscription(
            self.heard.append, self._missed, lambda: listener_of(self._through), CHECK_SECONDS
        )
        self._subscription.start()
        await self.hears("at_first")
        assert self.gaps == 0
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._subscription.stop()
        self._redis.close()

    def _missed(self) -> None:
        self.gaps += 1

    def publish(self, message: bytes | str) -> None:
        """Send a message to the channel."""
        self._redis.publish(CHANGED_CHATS, message)

    async def hears(self, token: str) -> None:
        """Announce a chat until the subscription has heard of it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not any((token, 1) in changed.chats for changed in self.heard):
                for message in encode(0, [(token, 1)]):
                    self.publish(message)
                await asyncio.sleep(0.05)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()

    asyncio.run(main())


def test_a_connection_that_breaks_leaves_a_gap(link: Link, redis_url: str) -> None:
    async def scenario() -> None:
        async with Listening(link, redis_url) as listening:
            for gaps in (1, 2):
                link.reset()
                await listening.hears(f"after_reset_{gaps}")
                assert listening.gaps == gaps

    run(scenario)


def test_a_connection_that_goes_silent_is_replaced(link: Link, redis_url: str) -> None:
    async def scenario() -> None:
        async with Listening(link, redis_url) as listening:
            link.half_open()
            await listening.hears("after_silence")
            assert listening.gaps == 1

    run(scenario)


def test_a_redis_without_announcements_is_no_gap(link: Link, redis_url: str) -> None:
    async def scenario() -> None:
        async with Listening(link, redis_url) as listening:
            await asyncio.sleep(5 * CHECK_SECONDS)
            await listening.hears("after_a_quiet_time")
            assert listening.gaps == 0

    run(scenario)


def test_a_redis_that_accepts_and_says_nothing_is_left(link: Link, redis_url: str) -> None:
    async def scenario() -> None:
        async with Listening(link, redis_url) as listening:
            link.silence()
            await asyncio.sleep(3 * CHECK_SECONDS)
            link.heal()
            await listening.hears("after_all")
            assert listening.gaps == 1

    run(scenario)


@pytest.mark.parametrize("message", [b"", b"\xff", b"soon a/1", b"0 a/one"])
def test_a_malformed_announcement_is_no_gap(link: Link, redis_url: str, message: bytes) -> None:
    async def scenario() -> None:
        async with Listening(link, redis_url) as listening:
            listening.publish(message)
            await listening.hears("after_nonsense")
            assert listening.gaps == 0

    run(scenario)
