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
SELECT c.deleted_at IS NOT NULL FROM applications a
LEFT JOIN chats c ON c.application_id = a.id AND c.number = %s::bigint
WHERE a.access_token = %s
"""


def missing_application(_access_token: str) -> NotFound:
    """Return the problem of an application that is not in the table; called as those below."""
    return NotFound("There is no such application.")


def missing_chat(access_token: str, number: int) -> Problem:
    """Return why a chat, or its messages, cannot be read."""
    sequence = keys.chat_sequence(access_token)
    unknown = NotFound("There is no such application or chat.")
    return _missing(access_token, number, sequence, number, unknown)


def missing_message(access_token: str, chat_number: int, number: int) -> Problem:
    """Return the problem of a message that is not in the table: not stored yet, or unknown."""
    sequence = keys.message_sequence(access_token, chat_number)
    unknown = NotFound("There is no such application, chat or message.")
    return _missing(access_token, chat_number, sequence, number, unknown)


def _missing(
    access_token: str, chat_number: int, sequence_key: str, number: int, unknown: NotFound
) -> Problem:
    """Return why a number of a sequence cannot be read.

    Redis is asked first: a sequence that it has marked as deleted by then is deleted in PostgreSQL.
    Nothing will be stored under a token that is not valid any more, whatever Redis says of it.
    """
    handed_out = may_be_handed_out(access_token, sequence_key, number)
    deleted = is_deleted(access_token, chat_number)
    if deleted:
        return ChatDeleted()
    if deleted is not None and handed_out:
        return NotStoredYet()
    return unknown


def is_deleted(access_token: str, chat_number: int) -> bool | None:
    """Return whether a chat was deleted; None if there is no such application.

    Raises StoreUnavailable without PostgreSQL.
    """
    deleted: bool | None = fetch_value(IS_DELETED, (str(chat_number), access_token))
    return deleted


def may_be_handed_out(access_token: str, sequence_key: str, number: int) -> bool:
    """Return whether a sequence has reached a number; False if Redis cannot tell.

    True while a deletion is decided, which may come to nothing: a client is to ask again. The key
    is without the tag of its shard.
    """
    shard = shards().of(access_token)
    name = shard.key(sequence_key)
    state: Any = attempt(shard, lambda redis: redis.get(name), "sequence not read")
    if state is None:
        return False
    # It holds a word instead of a number where there is nothing to be handed out.
    return bool(state == keys.DELETING.encode() or (state.isdigit() and int(state) >= number))
