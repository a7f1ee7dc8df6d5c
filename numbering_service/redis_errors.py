"""The errors of Redis that mean "not here, not now": drop the connection and try again.

A primary that became a replica answers READONLY on a connection that stays open.
Whoever keeps that connection never finds the new primary, although the address
leads to it by now.
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
    """Somebody else's script is holding up the server."""


class UnblockedError(ResponseError):
    """The server changed its role while a command was waiting."""


# By the word with which Redis begins an error.
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

# After one of these the server is the wrong one, or is about to be.
MOVED = (ClusterDownError, MasterDownError, ReadOnlyError)


def read_error(text: str) -> RedisError:
    """Return the exception for an error reply, as redis-py would raise it."""
    word, _, rest = text.partition(" ")
    return _BY_WORD.get(word, ResponseError)(rest if word == "ERR" else text)
