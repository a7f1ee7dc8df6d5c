"""Fixtures of what is deleted.

valkey   a client of the services' Redis
erase    a function that runs the eraser until there is nothing left to do
"""

from collections.abc import Callable, Iterator

import pytest
import redis

from tests.integration.crud_rows import Database


@pytest.fixture
def valkey(clean_crud: dict[str, str]) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(clean_crud["REDIS_URL"], protocol=2) as client:
        yield client


@pytest.fixture
def erase(database: Database, valkey: redis.Redis) -> Callable[[], None]:
    def run() -> None:
        from crud_service.erase.eraser import Eraser

        eraser = Eraser(lambda _: valkey, grace_seconds=0)
        while eraser.erase_some(database):
            pass

    return run
