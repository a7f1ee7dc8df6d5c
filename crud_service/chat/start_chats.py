"""Starts the sequence of a new application's chats, so that it need not be seeded.

Why this cannot repeat a number: it happens before the application's row is
committed. Until then its token is in no list and in no response, and as it cannot
be guessed, nothing can have been accepted for it. Afterwards nothing here writes
the sequence again, whatever else is retried. (After the commit there would be a
race: the list of applications shows the token, a chat is created, its sequence
is lost, and only then is it "started".)

If Redis is unavailable, at most one creation a second is delayed, by a timeout. The
first chat then seeds the sequence.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import redis
from django.conf import settings

from contract import keys
from crud_service.stores.circuit import circuit_of
from crud_service.stores.redis_clients import api_redis

logger = logging.getLogger(__name__)

_START = Path(__file__).with_name("lua").joinpath("start_sequence.lua").read_text()


def start_chats(access_token: str) -> None:
    """Write the sequence of a new application's chats; never overwrite a number, never raise."""
    sequence = keys.chat_sequence(access_token)
    seed_lock, ttl = keys.seed_lock(sequence), keys.SEQUENCE_TTL_SECONDS
    attempt(lambda: api_redis().eval(_START, 2, sequence, seed_lock, ttl), "sequence not started")


def forget_chats(access_token: str) -> None:
    """Delete the sequence of an application that may not have been created; never raise.

    If it was created nevertheless, its first chat seeds the sequence.
    """
    attempt(lambda: api_redis().delete(keys.chat_sequence(access_token)), "sequence not removed")


def attempt(call: Callable[[], object], failure: str) -> None:
    """Call Redis unless it was unavailable a moment ago; log a failure."""
    circuit = circuit_of(__name__, settings.REDIS_URL, pause=1.0)
    if not circuit.may_ask():
        return
    try:
        call()
        circuit.succeeded()
    except redis.RedisError as error:
        logger.warning("%s: %s", failure, error)
        circuit.failed()
