"""redis-py's client, on uvloop, for everything that is not the numbering script."""

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from numbering_service.redis_errors import MOVED


class Client(Redis):
    """A client that disconnects from a server that is no longer the primary.

    On a write to a closed connection asyncio raises ConnectionResetError; uvloop
    raises RuntimeError, which redis-py lets through.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call] # untyped in redis-py
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error
        except MOVED as error:
            # The pool's other connections lead to the same server. To callers this is a lost
            # connection: they retry, and the address is resolved again.
            await self.connection_pool.disconnect(inuse_connections=False)
            raise ConnectionError(str(error)) from error
