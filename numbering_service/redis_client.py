"""redis-py's client, on uvloop, for everything that is not the numbering script."""

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError

from numbering_service.redis_errors import MOVED


class Client(Redis):
    """A client that leaves a server that is no primary any more.

    asyncio raises ConnectionResetError when a connection turns out to be closed
    as it is written to; uvloop raises RuntimeError, which redis-py lets through.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call] # redis-py leaves it so
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error
        except MOVED as error:
            # The pool's other connections lead to the same server. To callers this is a lost
            # connection: they retry, and the address is resolved again.
            await self.connection_pool.disconnect(inuse_connections=False)
            raise ConnectionError(str(error)) from error
