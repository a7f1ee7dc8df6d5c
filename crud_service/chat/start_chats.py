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

from pathlib import Path

from django.conf import settings

from contract import keys
from crud_service.stores.database import run
from crud_service.stores.installed_shards import installed, obstacle
from crud_service.stores.redis_clients import attempt, shards
from web.problems import StoreUnavailable

_START = Path(__file__).with_name("lua").joinpath("start_sequence.lua").read_text(encoding="utf-8")


def start_chats(access_token: str) -> None:
    """Write the sequence of a new application's chats; never overwrite a number, never raise."""
    if not is_ours():
        return
    shard = shards().of(access_token)
    sequence = shard.key(keys.chat_sequence(access_token))
    names, ttl = (sequence, keys.seed_lock(sequence)), keys.SEQUENCE_TTL_SECONDS
    attempt(shard, lambda redis: redis.eval(_START, 2, *names, ttl), "sequence not started")


def is_ours() -> bool:
    """Return whether this process names keys as all others do."""
    try:
        return obstacle(run(installed), settings.SHARDS) is None
    except StoreUnavailable:
        return False


def forget_chats(access_token: str) -> None:
    """Delete the sequence of an application that may not have been created; never raise.

    If it was created nevertheless, its first chat seeds the sequence.
    """
    shard = shards().of(access_token)
    sequence = shard.key(keys.chat_sequence(access_token))
    attempt(shard, lambda redis: redis.delete(sequence), "sequence not removed")
