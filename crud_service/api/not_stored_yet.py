"""Why a resource is missing: its number was never handed out, or is not stored yet, or its chat
was deleted.

Only looked up on the way to a 404 or a 410. Without Redis the answer is merely less exact.
"""

from typing import Any

from contract import keys
from crud_service.stores.database import fetch_value
from crud_service.stores.redis_clients import attempt, shards
from web.problems import ChatDeleted, NotFound, NotStoredYet, Problem

IS_DELETED = """
SELECT EXISTS (
    SELECT FROM applications a JOIN chats c ON c.application_id = a.id AND c.number = %s::bigint
    WHERE a.access_token = %s AND c.deleted_at IS NOT NULL
)
"""


def missing_application(access_token: str) -> NotFound:
    """Return the problem of an application that is not in the table."""
    return NotFound("There is no such application.")


def missing_chat(access_token: str, number: int) -> Problem:
    """Return why a chat, or its messages, cannot be read."""
    if is_deleted(access_token, number):
        return ChatDeleted()
    if was_handed_out(access_token, keys.chat_sequence(access_token), number):
        return NotStoredYet()
    return NotFound("There is no such application or chat.")


def missing_message(access_token: str, chat_number: int, number: int) -> Problem:
    """Return the problem of a message that is not in the table: not stored yet, or unknown."""
    if is_deleted(access_token, chat_number):
        return ChatDeleted()
    if was_handed_out(access_token, keys.message_sequence(access_token, chat_number), number):
        return NotStoredYet()
    return NotFound("There is no such application, chat or message.")


def is_deleted(access_token: str, chat_number: int) -> bool:
    """Return whether a chat was deleted; raises StoreUnavailable without PostgreSQL."""
    return bool(fetch_value(IS_DELETED, (str(chat_number), access_token)))


def was_handed_out(access_token: str, sequence_key: str, number: int) -> bool:
    """Return whether a sequence has reached a number; False if Redis cannot tell.

    The key is without the tag of its shard. Of an application whose token is not valid any more,
    no number will be stored under it.
    """
    shard = shards().of(access_token)
    names = (shard.key(sequence_key), shard.key(keys.chat_sequence(access_token)))
    found: Any = attempt(shard, lambda redis: redis.mget(*names), "sequence not read")
    if found is None:
        return False
    highest, chats = found
    if chats == keys.DELETED.encode():
        return False
    # It holds a word instead of a number where there is nothing to be handed out.
    return highest is not None and highest.isdigit() and int(highest) >= number
