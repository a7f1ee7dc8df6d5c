"""Deleting: messages at once; chats and applications by a mark, behind which `erase` cleans up.

The transaction of the mark decides: from its commit on every read answers accordingly. Each is
applied exactly once, even if the answer to its COMMIT is lost (see `transactions`).
"""

import logging
from collections.abc import Callable
from typing import Any

import redis

from contract import keys
from contract.changed_chats import WHOLE_APPLICATION, ChatKey
from crud_service.api.etags import Preconditions
from crud_service.api.writing import NEXT_MOMENT, one_row
from crud_service.chat.announcements import announce
from crud_service.chat.deleted_sequences import hold, refuse, release
from crud_service.chat.reading import APPLICATION_JSON, CHAT_JSON, MESSAGE_JSON
from crud_service.chat.rotations import tokens_of
from crud_service.search.index.blocks import lock_chats
from crud_service.search.index.doorbell import wake_indexer
from crud_service.search.index.erasing import erase_text
from crud_service.stores.database import Connection, fetch_before_change
from crud_service.stores.redis_clients import api_redis, shards
from crud_service.stores.transactions import TRANSACTION, Written, change
from web.problems import StoreUnavailable

logger = logging.getLogger(__name__)

FIND_MESSAGE = """
SELECT c.id, x.id, x.deleted_at IS NOT NULL FROM applications a
JOIN chats c ON c.application_id = a.id AND c.number = %s::bigint AND c.deleted_at IS NULL
JOIN messages x ON x.chat_id = c.id AND x.number = %s::bigint
WHERE a.access_token = %s
"""
LOCK_MESSAGE = f"""
SELECT x.deleted_at IS NOT NULL, {MESSAGE_JSON} FROM messages x
WHERE x.chat_id = %(chat)s AND x.number = %(number)s::bigint AND x.id = %(id)s FOR NO KEY UPDATE
"""
# Nothing of a message stays but its number and its times.
ERASE_MESSAGE = f"""
UPDATE messages x
SET body = '', sender = NULL, metadata = NULL, reply_to = NULL, version = x.version + 1,
    updated_at = now.moment, deleted_at = now.moment
FROM (
    SELECT {NEXT_MOMENT} AS moment FROM messages x
    WHERE x.chat_id = %(chat)s AND x.number = %(number)s::bigint
) AS now
WHERE x.chat_id = %(chat)s AND x.number = %(number)s::bigint RETURNING {TRANSACTION}
"""
# Another message of the same number, and an entry with it that could not be stored.
_ITS_NUMBER = f"""
WHERE access_token = {tokens_of("(SELECT application_id FROM chats WHERE id = %s)", "%s::text")}
    AND chat_number = %s::bigint AND number = %s::bigint
"""
ERASE_CONFLICTS = f"DELETE FROM conflicts {_ITS_NUMBER}"
ERASE_SET_ASIDE = f"DELETE FROM set_aside_entries {_ITS_NUMBER}"

LOCK_CHAT = f"""
SELECT x.id, x.deleted_at IS NOT NULL, {CHAT_JSON} FROM applications a
JOIN chats x ON x.application_id = a.id AND x.number = %s::bigint
WHERE a.access_token = %s FOR NO KEY UPDATE OF x
"""
MARK_CHAT = f"""
WITH marked AS (
    UPDATE chats x
    SET name = NULL, metadata = NULL, changes = x.changes + 1,
        updated_at = now.moment, deleted_at = now.moment
    FROM (
        SELECT {NEXT_MOMENT} AS moment FROM chats x WHERE x.id = %(id)s
    ) AS now
    WHERE x.id = %(id)s RETURNING x.*
)
INSERT INTO deletions (application_id, chat_id, access_token, chat_number)
SELECT application_id, id, %(token)s::text, number FROM marked RETURNING {TRANSACTION}
"""

LOCK_APPLICATION = f"""
SELECT x.id, false, {APPLICATION_JSON} FROM applications x WHERE x.access_token = %s FOR UPDATE
"""
# No request can name the token that takes the place of its own, which is not one.
MARK_APPLICATION = f"""
WITH marked AS (
    UPDATE applications
    SET access_token = '-' || id, name = '', rate_limit = NULL, deleted_at = clock_timestamp()
    WHERE id = %(id)s RETURNING id
), replaced AS (
    DELETE FROM deletions USING marked WHERE application_id = marked.id
), former AS (
    UPDATE rotations SET answer = '' FROM marked WHERE application_id = marked.id
    RETURNING former_token
), remembered AS (
    INSERT INTO deleted_applications (digest, application_id)
    SELECT sha256(convert_to(token, 'UTF8')), %(id)s
    FROM (SELECT %(token)s::text AS token UNION ALL SELECT former_token FROM former) AS tokens
    ON CONFLICT DO NOTHING
)
INSERT INTO deletions (application_id, access_token)
SELECT id, %(token)s::text FROM marked RETURNING {TRANSACTION}
"""


def delete_message(
    access_token: str,
    chat_number: int,
    number: int,
    preconditions: Preconditions,
    request_id: str = "",
) -> bool:
    """Replace a message by a tombstone and announce it; deleting a tombstone changes nothing.

    Returns whether there is such a message. `request_id` is for the indexer's log. Raises
    PreconditionFailed.
    """
    path = (str(chat_number), str(number), access_token)
    deleted = change(lambda it: _erase_message(it, path, preconditions))
    if deleted:
        wake_indexer(request_id)
        announce(access_token, chat_number)
    return deleted is not None


def _erase_message(
    connection: Connection, path: tuple[str, str, str], preconditions: Preconditions
) -> Written[bool | None]:
    """Erase a message; the result is None if there is none, False if it was erased before.

    The lock of the chat's search comes first: an indexer may hold it for a while, and the
    persister must never wait for that.
    """
    found = connection.execute(FIND_MESSAGE, path).fetchone()
    if found is None:
        return Written(None, None)
    chat_id, message_id, is_tombstone = found
    if is_tombstone:
        return Written(False, None)
    chat_number, number, access_token = path
    place = {"chat": chat_id, "number": number, "id": message_id}
    blocks = lock_chats(connection, [chat_id])
    row: tuple[Any, ...] | None = connection.execute(LOCK_MESSAGE, place).fetchone()
    if row is None:
        return Written(None, None)
    is_tombstone, current = row
    if is_tombstone:
        return Written(False, None)
    preconditions.check(current)
    (transaction_id,) = one_row(connection, ERASE_MESSAGE, place)
    erase_text(connection, chat_id, int(number), message_id, blocks.get(chat_id, 0))
    kept = (access_token, chat_id, chat_number, number)
    connection.execute(ERASE_CONFLICTS, kept)
    connection.execute(ERASE_SET_ASIDE, kept)
    return Written(True, transaction_id)


def delete_chat(access_token: str, number: int, preconditions: Preconditions) -> bool:
    """Mark a chat as deleted and announce it; deleting it again changes nothing.

    Returns whether there is such a chat. Raises PreconditionFailed.
    """
    lock = (LOCK_CHAT, (str(number), access_token))
    sequence = keys.message_sequence(access_token, number)
    return _delete((access_token, number), sequence, lock, MARK_CHAT, preconditions)


def delete_application(access_token: str, preconditions: Preconditions) -> bool:
    """Mark an application as deleted and announce it; return False if there is none.

    From then on it does not exist. Raises PreconditionFailed.
    """
    lock = (LOCK_APPLICATION, (access_token,))
    sequence = keys.chat_sequence(access_token)
    whole = (access_token, WHOLE_APPLICATION)
    return _delete(whole, sequence, lock, MARK_APPLICATION, preconditions)


def _delete(
    chat: ChatKey,
    sequence: str,
    lock: tuple[str, tuple[str, ...]],
    mark: str,
    preconditions: Preconditions,
) -> bool:
    """Mark a row and announce it, with its creations held up meanwhile and refused afterwards.

    Returns whether there is such a row. The key of its sequence is without the tag of its shard.
    """
    row = fetch_before_change(*lock)
    if row is None:
        return False
    if row[1]:
        return True
    preconditions.check(row[2])  # a refusal costs its sequence nothing, unless there is a race
    access_token, chat_number = chat
    shard = shards().of(access_token)
    sequence = shard.key(sequence)
    hold(shard, sequence)
    try:
        deleted = change(lambda it: _mark(it, lock, mark, access_token, preconditions))
    except StoreUnavailable:
        raise  # the change may have been made: the mark expires, and then PostgreSQL is asked
    except BaseException:
        _try(lambda: release(shard, sequence), "creations stay refused for some seconds")
        raise
    if deleted is None:
        _try(lambda: release(shard, sequence), "creations stay refused for some seconds")
        return False
    _try(
        lambda: refuse(api_redis(shard.number), sequence),
        "the mark of a deletion has to be written later",
    )
    if deleted:
        announce(access_token, chat_number)
    return True


def _mark(
    connection: Connection,
    lock: tuple[str, tuple[str, ...]],
    mark: str,
    access_token: str,
    preconditions: Preconditions,
) -> Written[bool | None]:
    row = connection.execute(*lock).fetchone()
    if row is None:
        return Written(None, None)
    row_id, is_marked, current = row
    if is_marked:
        return Written(False, None)
    preconditions.check(current)
    (transaction_id,) = one_row(connection, mark, {"id": row_id, "token": access_token})
    return Written(True, transaction_id)


def _try(call: Callable[[], object], failure: str) -> None:
    """Call Redis; log a failure, which costs latency and no more."""
    try:
        call()
    except redis.RedisError as error:
        logger.warning("%s: %s", failure, error)
