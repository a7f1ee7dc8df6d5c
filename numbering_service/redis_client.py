"""redis-py's client, on uvloop."""

from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError


class Client(Redis):
    """A client for which a connection that uvloop has closed is a lost one, no error of ours.

    asyncio raises ConnectionResetError when a connection turns out to be closed
    as it is written to; uvloop raises RuntimeError, which redis-py lets through.
    """

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().execute_command(*args, **options)  # type: ignore[no-untyped-call] # redis-py leaves it so
        except RuntimeError as error:
            raise ConnectionError(str(error)) from error
