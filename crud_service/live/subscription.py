"""Listens to announcements of changed chats."""

import asyncio
import logging
from collections.abc import Callable

from redis.asyncio import Redis
from redis.exceptions import RedisError

from contract.changed_chats import ChangedChats, decode
from contract.keys import CHANGED_CHATS
from crud_service.stores.redis_clients import LISTENER_CHECK_SECONDS, connect_listener

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5


class Subscription:
    """Passes on what is announced; use it on a single event loop.

    `missed` is called when it listens again after an interruption, in which it may have missed
    announcements.
    """

    def __init__(
        self,
        changed: Callable[[ChangedChats], None],
        missed: Callable[[], None],
        connect: Callable[[], Redis] = connect_listener,
        check_seconds: float = LISTENER_CHECK_SECONDS,
    ) -> None:
        self._changed = changed
        self._missed = missed
        self._connect = connect
        self._check_seconds = check_seconds
        self._was_interrupted = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Listen from now on."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._listen_always())

    async def stop(self) -> None:
        """Listen no longer."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def _listen_always(self) -> None:
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                logger.warning("announcements of changed chats are not heard: %s", error)
            except Exception:
                logger.exception("listening to changed chats failed")
            self._was_interrupted = True
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        async with self._connect() as client, client.pubsub() as listener:
            await listener.subscribe(CHANGED_CHATS)
            is_checking = False
            while True:
                message = await listener.get_message(timeout=self._check_seconds)
                if message is None:
                    # redis-py's own health check sends pings but misses no answer.
                    if is_checking:
                        raise TimeoutError("no answer to a ping")
                    await listener.ping()
                    is_checking = True
                    continue
                is_checking = False
                if message["type"] == "subscribe" and self._was_interrupted:
                    self._missed()
                elif message["type"] == "message":
                    self._take(message["data"])

    def _take(self, message: bytes) -> None:
        try:
            changed = decode(message)
        except ValueError:
            # Listening anew would be a gap, after which every list is read again.
            logger.warning("a malformed announcement was ignored")
        else:
            self._changed(changed)
