"""Why something is not there: never handed out, or handed out and not stored yet.

Asked on the way to a 404 alone. Redis away only makes the answer less exact.
"""

import logging

import redis

from contract import keys
from crud_service.stores.api_redis import client
from crud_service.stores.circuit import Circuit
from web.problems import NotFound, NotStoredYet

logger = logging.getLogger(__name__)
# When Redis does not answer in time: a 404 must not hold a thread.
circuit = Circuit(pause=1.0)


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
    if not circuit.may_ask():
        return False
    try:
        highest = client().get(sequence_key)
        circuit.succeeded()
        return highest is not None and int(highest) >= number
    except (redis.RedisError, ValueError) as error:
        logger.warning("no sequence could be read: %s", error)
        if isinstance(error, redis.TimeoutError):
            circuit.failed()
        return False
