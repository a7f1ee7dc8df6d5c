"""Why something is not there: never handed out, or handed out and not stored yet.

Asked on the way to a 404 alone. Redis away only makes the answer less exact.
"""

import logging
import time

import redis

from contract import keys
from contract.problems import NotFound, NotStoredYet
from crud_service.redis_client import client

# After Redis did not answer in time nobody asks for this long: a 404 must not hold a thread.
PAUSE_SECONDS = 1.0

logger = logging.getLogger(__name__)

_away_until = 0.0


def missing_chat(access_token: str, number: int) -> NotFound:
    """The problem for a chat that is not stored."""
    if was_handed_out(keys.chat_sequence(access_token), number):
        return NotStoredYet()
    return NotFound("There is no such chat.")


def missing_message(access_token: str, chat_number: int, number: int) -> NotFound:
    """The problem for a message that is not stored."""
    if was_handed_out(keys.message_sequence(access_token, chat_number), number):
        return NotStoredYet()
    return NotFound("There is no such message.")


def was_handed_out(sequence_key: str, number: int) -> bool:
    """Whether a sequence has come to a number."""
    global _away_until
    if time.monotonic() < _away_until:
        return False
    try:
        highest = client().get(sequence_key)
        return highest is not None and int(highest) >= number
    except (redis.RedisError, ValueError) as error:
        logger.warning("no sequence could be read: %s", error)
        if isinstance(error, redis.TimeoutError):
            _away_until = time.monotonic() + PAUSE_SECONDS
        return False
