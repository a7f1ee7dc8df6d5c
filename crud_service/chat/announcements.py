"""Announces changed chats to the streams that follow them, in this process and in others.

It happens in a thread, so that a slow Redis delays no request, and it may fail: the followers
look once a second anyway.
"""

import logging
import threading
import time
from collections.abc import Iterable
from functools import cache

import redis

from contract.changed_chats import ChatKey, encode
from contract.keys import CHANGED_CHATS
from crud_service.stores.redis_clients import hint_redis

logger = logging.getLogger(__name__)

# While Redis does not answer, more are forgotten.
MOST_WAITING = 10_000
# Between two round trips: the processes that listen, this one too, take each at a cost of its own.
PAUSE_SECONDS = 0.01


def announce(access_token: str, chat_number: int) -> None:
    """Announce that a commit has changed a chat; returns at once."""
    announcer().announce((access_token, chat_number))


class Announcer:
    """Publishes what changes: the first at once, and all that follows within a pause together."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        # A dictionary as an ordered set.
        self._waiting: dict[ChatKey, None] = {}
        self._is_waiting = threading.Condition()
        threading.Thread(target=self._publish_forever, name="announcer", daemon=True).start()

    def announce(self, chat: ChatKey) -> None:
        """Announce a chat soon."""
        with self._is_waiting:
            if len(self._waiting) < MOST_WAITING:
                self._waiting[chat] = None
            self._is_waiting.notify()

    def _publish_forever(self) -> None:
        while True:
            with self._is_waiting:
                self._is_waiting.wait_for(lambda: self._waiting)
                chats, self._waiting = self._waiting, {}
            try:
                publish(self._client, chats)
            except Exception:
                # Nothing else announces: the thread must survive any error.
                logger.exception("announcing changed chats failed")
            time.sleep(PAUSE_SECONDS)


def publish(client: redis.Redis, chats: Iterable[ChatKey]) -> None:
    """Announce chats now; an error of Redis is logged and no more."""
    try:
        for message in encode(time.time() * 1000, chats):
            client.publish(CHANGED_CHATS, message)
    except redis.RedisError as error:
        logger.warning("changed chats were not announced: %s", error)


@cache
def announcer() -> Announcer:
    return Announcer(hint_redis())
