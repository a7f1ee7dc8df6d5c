"""The persist path: a database with an application, the stream, and the task's own function."""

from collections.abc import Callable, Iterator

import pytest
import redis

from tests.integration.accepting import make_application


@pytest.fixture
def database(clean_crud: dict[str, str]) -> str:
    """The URL of a database that holds one application."""
    make_application(clean_crud["DATABASE_URL"])
    return clean_crud["DATABASE_URL"]


@pytest.fixture
def stream(clean_crud: dict[str, str]) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(clean_crud["REDIS_URL"], protocol=2) as client:
        yield client


@pytest.fixture
def drain(stream: redis.Redis) -> Callable[[], None]:
    """Runs the task's own function until the stream is empty."""

    def run() -> None:
        from crud_service.persist.drain import drain_accepted

        drain_accepted(stream)

    return run
