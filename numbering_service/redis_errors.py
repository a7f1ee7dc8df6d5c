"""The transient errors of Redis: drop the connection and retry.

A primary that became a replica answers READONLY on a connection that stays open.
A client that keeps that connection never finds the new primary, although the
address already points to it.
"""

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)


class ScriptBusyError(ResponseError):
    """Another client's script is blocking the server."""


class UnblockedError(ResponseError):
    """The server changed its role while a command was waiting."""


# By the first word of an error reply.
_BY_WORD: dict[str, type[RedisError]] = {
    "BUSY": ScriptBusyError,
    "CLUSTERDOWN": ClusterDownError,
    "LOADING": BusyLoadingError,
    "MASTERDOWN": MasterDownError,
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "TRYAGAIN": TryAgainError,
    "UNBLOCKED": UnblockedError,
}

# After one of these the same request may succeed a moment later, on a new connection. NOSCRIPT
# is among them because a new connection begins by loading the script.
RETRYABLE = (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    MasterDownError,
    NoScriptError,
    OSError,
    ReadOnlyError,
    ScriptBusyError,
    TimeoutError,
    TryAgainError,
    UnblockedError,
)

# After one of these the server is not the primary, or is about to be replaced.
MOVED = (ClusterDownError, MasterDownError, ReadOnlyError)


def read_error(text: str) -> RedisError:
    """Return the exception for an error reply, as redis-py would raise it."""
    word, _, rest = text.partition(" ")
    return _BY_WORD.get(word, ResponseError)(rest if word == "ERR" else text)
