"""What the worker does now and then goes on in all shards but the one that fails.

A key of another type makes a shard fail: every command on it is an error.
"""

from collections.abc import Iterator

import httpx
import pytest
import redis

from contract import keys
from contract.shards import Shards
from tests.integration.crud_rows import Database, add_chat_of, token_of

SHARDS = Shards(2)


@pytest.fixture
def applications(http: httpx.Client, clean_crud: dict[str, str]) -> Iterator[list[str]]:
    """The paths of two applications, the first of which is in the shard that fails."""
    from django.test import override_settings

    with override_settings(SHARDS=len(SHARDS)):
        found: dict[int, str] = {}
        while len(found) < len(SHARDS):
            token = http.post("/applications", json={"name": "x"}).json()["access_token"]
            found[SHARDS.number_of(token)] = f"/applications/{token}"
        yield [found[0], found[1]]


def test_rotations_are_finished_in_the_other_shards(
    http: httpx.Client, database: Database, valkey: redis.Redis, applications: list[str]
) -> None:
    from crud_service.api.rotation import rotating
    from crud_service.chat.rotations import finish_rotations
    from crud_service.postgresql import CHORES
    from crud_service.stores.database import connect_as

    for number, path in enumerate(applications):
        rotating.begin(token_of(path), str(number))
    valkey.set(SHARDS[0].key(keys.ACCEPTED), "no stream")
    with connect_as(CHORES) as connection, pytest.raises(redis.RedisError):
        finish_rotations(connection)
    rows = database.execute("SELECT finished FROM rotations ORDER BY id").fetchall()
    assert rows == [(False,), (True,)]


def test_limits_are_copied_to_the_other_shards(
    database: Database, valkey: redis.Redis, applications: list[str]
) -> None:
    from crud_service.worker.chores import repair_limits

    valkey.set(SHARDS[0].key(keys.LIMITS), "no hash")
    database.execute("UPDATE applications SET rate_limit = 7")
    with pytest.raises(redis.RedisError):
        repair_limits(database)
    assert valkey.hget(SHARDS[1].key(keys.LIMITS), token_of(applications[1])) == b"7 7"


def test_deletions_are_finished_in_the_other_shards(
    http: httpx.Client, database: Database, valkey: redis.Redis, applications: list[str]
) -> None:
    from crud_service.erase.eraser import Eraser

    for path in applications:
        add_chat_of(database, path, 3)
        assert http.delete(path).status_code == 202
    with redis.Redis(port=1, retry=None) as nowhere:
        eraser = Eraser(lambda number: valkey if number else nowhere, grace_seconds=0)
        while eraser.erase_some(database):
            pass
    left = database.execute("SELECT access_token::text FROM deletions").fetchall()
    assert left == [(token_of(applications[0]),)]
