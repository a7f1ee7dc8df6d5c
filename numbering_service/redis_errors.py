"""The transient errors of Redis: drop the connection and retry.

A primary that became a replica answers READONLY on a connection that stays open.
A client that keeps that connection never finds the new primary, although the
address already points to it.
"""

from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterCrossSlotError,
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


class ElsewhereError(ResponseError):
    """The keys are, or will soon be, on another server of the cluster (MOVED, ASK)."""


class UnblockedError(ResponseError):
    """The server changed its role while a command was waiting."""


# By the first word of an error reply.
_BY_WORD: dict[str, type[RedisError]] = {
    "ASK": ElsewhereError,
    "BUSY": ScriptBusyError,
    "CLUSTERDOWN": ClusterDownError,
    "CROSSSLOT": ClusterCrossSlotError,
    "LOADING": BusyLoadingError,
    "MASTERDOWN": MasterDownError,
    "MOVED": ElsewhereError,
    "NOSCRIPT": NoScriptError,
    "OOM": OutOfMemoryError,
    "READONLY": ReadOnlyError,
    "TRYAGAIN": TryAgainError,
    "UNBLOCKED": UnblockedError,
}

# While a slot moves, a batch that was done may be sent again and find its own keys, but not another
# one that the script reads with them. It has written nothing by then.
_NON_LOCAL = "access a non local key"

# After one of these the same request may succeed a moment later, on a new connection. NOSCRIPT
# is among them because a new connection begins by loading the script.
RETRYABLE = (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    ElsewhereError,
    MasterDownError,
    NoScriptError,
    OSError,
    ReadOnlyError,
    ScriptBusyError,
    TimeoutError,
    TryAgainError,
    UnblockedError,
)

# After one of these the server is not the primary, or is about to be replaced. MovedError is a
# kind of AskError.
MOVED = (AskError, ClusterDownError, MasterDownError, ReadOnlyError)


def read_error(text: str) -> RedisError:
    """Return the exception for an error reply, as redis-py would raise it."""
    if _NON_LOCAL in text:
        return ElsewhereError(text)
    word, _, rest = text.partition(" ")
    return _BY_WORD.get(word, ResponseError)(rest if word == "ERR" else text)
