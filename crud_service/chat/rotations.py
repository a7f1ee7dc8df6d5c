"""Rotated access tokens: what is left to do once PostgreSQL knows an application by a new one.

Until a rotation is finished, entries that were accepted under the former token may still wait in
the stream. The persister stores them into the same application, whatever its token is by then
(`persist.former_tokens`). But no sequence of the new token may be seeded before, as the tables do
not have all numbers yet. So a rotation has these steps, each of which may be repeated:

1. PostgreSQL: the new token, and a row in `rotations`, in one transaction (`api.rotation`). From
   here on crud_service answers 404 for the former token, and no sequence of either is seeded.
2. Redis: numbers.lua refuses the former token. The stream's last id is noted as the fence, in the
   same step: no entry of the former token will follow it.
3. Every entry up to the fence has left the stream, so it is stored or set aside. The row is marked
   `finished`, and sequences of the new token are seeded from the tables.

The stream, the sequence and the mark of step 2 are those of the former token's shard. The new token
may belong to another one, in which nothing is accepted for it before step 3.

A process that is killed leaves steps 2 and 3 to the worker.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis, RedisError

from contract import keys
from contract.entries import read_id
from crud_service.stores.database import Connection, as_text, fetch_value
from crud_service.stores.redis_clients import api_redis, shards
from crud_service.stores.replicated_writes import write_acknowledged

# As long as any sequence of the former token, and a day.
RETIRED_TTL_SECONDS = keys.SEQUENCE_TTL_SECONDS + 24 * 3600
LOOK_SECONDS = 0.01

_RETIRE = Path(__file__).with_name("lua").joinpath("retire_token.lua").read_text(encoding="utf-8")

# A deleted application's tokens are left to the eraser.
UNFINISHED = """
SELECT r.id, r.former_token::text, r.fence::text
FROM rotations r JOIN applications a ON a.id = r.application_id AND a.deleted_at IS NULL
WHERE NOT r.finished AND r.id > %s ORDER BY r.id LIMIT 100
"""
OF_ID = "SELECT id, former_token::text, fence::text FROM rotations WHERE id = %s AND NOT finished"
SET_FENCE = "UPDATE rotations SET fence = %s WHERE id = %s"
FINISH = "UPDATE rotations SET finished = true WHERE id = %s"
IS_ROTATING = """
SELECT EXISTS (
    SELECT FROM applications a JOIN rotations r ON r.application_id = a.id
    WHERE a.access_token = %s AND NOT r.finished)
"""


class Rotation(NamedTuple):
    """A rotation that is not finished; without a `fence` its token is still accepted."""

    id: int
    former_token: str
    fence: str


class Retired(NamedTuple):
    """What the former token's shard said, in one call."""

    # Whether creations were not refused before.
    is_new: bool
    # The stream's last id, and that of the first entry that waits; empty if none does.
    last: str
    first: bytes


def tokens_of(application_id: str, access_token: str) -> str:
    """Return SQL for the tokens that an application's entries may have: this one and former ones.

    Entries keep the token under which they were accepted. Both arguments are SQL.
    """
    return f"""ANY (ARRAY(
        SELECT {access_token} UNION ALL
        SELECT r.former_token FROM rotations r WHERE r.application_id = {application_id}))"""


def is_rotating(access_token: str) -> bool:
    """Return whether numbers of an application may still be on their way under a former token."""
    return bool(fetch_value(IS_ROTATING, (access_token,)))


def unfinished(connection: Connection) -> Iterator[Rotation]:
    """Yield all unfinished rotations, a hundred at a time."""
    last = 0
    while rows := connection.execute(UNFINISHED, (last,)).fetchall():
        yield from map(as_rotation, rows)
        last = rows[-1][0]


def finish_rotations(connection: Connection) -> int:
    """Take all unfinished rotations as far as possible; return how many were finished.

    Raises RedisError if a shard is unavailable, once those of the others are done.
    """
    finished, failed = 0, dict[int, RedisError]()
    for rotation in unfinished(connection):
        shard = shards().number_of(rotation.former_token)
        if shard not in failed:
            try:
                finished += advance(connection, rotation)
            except RedisError as error:
                failed[shard] = error
    for failure in failed.values():
        raise failure
    return finished


def finish_within(connection: Connection, rotation_id: int, seconds: float) -> None:
    """Try for some seconds to finish a rotation; if entries still wait then, the worker will."""

    def is_finished() -> bool:
        row = connection.execute(OF_ID, (rotation_id,)).fetchone()
        return row is None or advance(connection, as_rotation(row))

    wait_until(is_finished, seconds)


def as_rotation(row: tuple[Any, ...]) -> Rotation:
    rotation_id, token, fence = row
    return Rotation(rotation_id, as_text(token), as_text(fence))


def advance(connection: Connection, rotation: Rotation) -> bool:
    """Do the next steps of a rotation, in the shard of the former token.

    Returns whether it is finished.
    """
    fence, shard = rotation.fence, shards().of(rotation.former_token)
    redis = api_redis(shard.number)
    is_new, last, first = retire(redis, rotation.former_token)
    # A Redis that was lost or restored may have accepted more since the fence was noted.
    if is_new or not fence:
        fence = last
        connection.execute(SET_FENCE, (fence, rotation.id))
    if not has_left(first, fence):
        return False
    connection.execute(FINISH, (rotation.id,))
    return True


def retire(redis: Redis, former_token: str) -> Retired:
    """Have creations under a token refused."""
    shard = shards().of(former_token)
    sequence = shard.key(keys.chat_sequence(former_token))
    names = (sequence, keys.seed_lock(sequence), shard.key(keys.ACCEPTED))
    # A promoted replica without the mark would hand out numbers of this token behind the fence.
    [reply] = write_acknowledged(
        redis, lambda pipeline: pipeline.eval(_RETIRE, len(names), *names, RETIRED_TTL_SECONDS)
    )
    return Retired(bool(reply[0]), reply[1].decode(), reply[2])


def last_entry(redis: Redis, stream: str) -> str:
    """Return the id of the newest entry in a stream, the lowest possible one if it is empty."""
    page: Any = redis.xrevrange(stream, count=1)
    return page[0][0].decode() if page else "0-0"


def is_stored(redis: Redis, stream: str, entry_id: str) -> bool:
    """Return whether an entry and all before it have left a stream."""
    page: Any = redis.xrange(stream, count=1)
    return has_left(page[0][0] if page else b"", entry_id)


def has_left(first: bytes, entry_id: str) -> bool:
    """Return whether an entry has left a stream, by the id of the first one that waits, if any."""
    return not first or read_id(first) > read_id(entry_id.encode())


def wait_until_stored(access_token: str, seconds: float) -> bool:
    """Wait until what was accepted so far in an application's shard is stored.

    Returns whether it is stored in time.
    """
    shard = shards().of(access_token)
    redis, stream = api_redis(shard.number), shard.key(keys.ACCEPTED)
    entry_id = last_entry(redis, stream)
    return wait_until(lambda: is_stored(redis, stream, entry_id), seconds)


def wait_until(is_done: Callable[[], bool], seconds: float) -> bool:
    """Look again and again; return False if it is not done in time."""
    deadline = time.monotonic() + seconds
    while not is_done():
        if time.monotonic() > deadline:
            return False
        time.sleep(LOOK_SECONDS)
    return True
