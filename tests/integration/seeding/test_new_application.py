"""A new application's sequence is written when the application is created."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis

from contract import keys
from tests.integration.breakable import Breakable
from tests.integration.crud_rows import Database
from tests.polling import wait_until


@pytest.fixture
def client(clean_crud: dict[str, str]) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(clean_crud["REDIS_URL"]) as connection:
        yield connection


@pytest.fixture
def link(clean_crud: dict[str, str]) -> Iterator[Breakable]:
    """The link between crud_service and Redis."""
    from django.test import override_settings

    from crud_service.stores.redis_clients import api_redis

    api_redis.cache_clear()
    with Breakable(clean_crud["REDIS_URL"]) as proxy, override_settings(REDIS_URL=proxy.url):
        yield proxy
    api_redis.cache_clear()


def create(http: httpx.Client) -> str:
    answer = http.post("/applications", json={"name": "new"})
    assert answer.status_code == 201
    return str(answer.json()["access_token"])


def test_its_first_chat_needs_no_seeding(http: httpx.Client, client: redis.Redis) -> None:
    sequence = keys.chat_sequence(create(http))
    assert client.get(sequence) == b"0"
    assert keys.SEQUENCE_TTL_SECONDS - 60 < client.ttl(sequence) <= keys.SEQUENCE_TTL_SECONDS


def test_a_number_is_never_reset(clean_crud: dict[str, str], client: redis.Redis) -> None:
    from crud_service.chat.start_chats import start_chats

    sequence = keys.chat_sequence("x" * 24)
    client.set(sequence, 7)
    start_chats("x" * 24)
    assert client.get(sequence) == b"7"


def test_starting_chats_overrides_unknown_and_the_lock_of_a_seeder(
    clean_crud: dict[str, str], client: redis.Redis
) -> None:
    from crud_service.chat.start_chats import start_chats

    sequence = keys.chat_sequence("y" * 24)
    client.set(sequence, keys.UNKNOWN)
    client.set(keys.seed_lock(sequence), "a seeder's")
    start_chats("y" * 24)
    assert client.get(sequence) == b"0"
    assert not client.exists(keys.seed_lock(sequence))


def test_it_exists_before_the_application_is_visible(
    http: httpx.Client, client: redis.Redis, database: Database
) -> None:
    with ThreadPoolExecutor(1) as thread:
        with database.transaction():
            # Nobody can insert an application, but all can read.
            database.execute("LOCK TABLE applications IN SHARE MODE")
            creating = thread.submit(create, http)
            wait_until(lambda: bool(client.keys("sequence:chats:*")), 30)
            assert database.execute("SELECT count(*) FROM applications").fetchall() == [(0,)]
        sequence = keys.chat_sequence(creating.result())
    assert client.get(sequence) == b"0"


def test_a_creation_that_failed_leaves_nothing(http: httpx.Client, client: redis.Redis) -> None:
    from django.test import override_settings

    from crud_service.stores.database import close_idle

    close_idle()
    with override_settings(DATABASE_URL="postgresql://127.0.0.1:1/none"):
        assert http.post("/applications", json={"name": "new"}).status_code == 503
    assert not client.keys("sequence:*")


@pytest.mark.parametrize("fault", ["cut", "frozen"])
def test_redis_unavailable_fails_no_creation_and_delays_few(
    http: httpx.Client, client: redis.Redis, link: Breakable, fault: str
) -> None:
    create(http)
    if fault == "cut":
        link.cut()
    link.frozen = True
    started = time.monotonic()
    tokens = [create(http) for _ in range(20)]
    assert time.monotonic() - started < 10  # a time-out each would take longer
    assert not any(client.exists(keys.chat_sequence(token)) for token in tokens)
