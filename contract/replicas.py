"""How to wait until replicas have a write on disk: what both services send to Redis for it.

A write is followed by two commands on the same connection. `WAIT` returns once replicas have
received it, which they say only after they have written what came before to disk; `WAITAOF`
returns once they have said so of this write. Alone, `WAITAOF` takes a second: replicas answer it
in the same turn in which they receive the write, that is before they write it to disk, and do not
speak again until a second has passed.

Both commands wait for the last write of their own connection. On a connection that has written
nothing, as on one that was opened again, they return at once. So the write and its
`acknowledgement` have to be sent together, and the write has to change something, or be
replicated although it changes nothing (EXPIRE, SET).
"""

from collections.abc import Sequence
from typing import Any

Command = tuple[str | int, ...]

# Whether the server can acknowledge at all: succeeds at once on a new connection.
PROBE: Command = ("WAITAOF", 1, 0, 1)
CANNOT = (
    "REPLICAS_TO_ACKNOWLEDGE needs Valkey, or Redis 7.2 or later, with appendonly yes, on the "
    "primary and its replicas"
)
# Which replicas are connected now; a replica's own answer has another form.
ROLE: Command = ("ROLE",)


def acknowledgement(replicas: int, milliseconds: int) -> tuple[Command, Command]:
    """Return the two commands that wait for a write; each takes `milliseconds` at most."""
    return ("WAIT", replicas, milliseconds), ("WAITAOF", 1, replicas, milliseconds)


def is_received(reply: object, replicas: int) -> bool:
    """Return whether the reply to `WAIT` says that enough replicas have the write."""
    return isinstance(reply, int) and reply >= replicas


def is_on_disk(reply: object, replicas: int) -> bool:
    """Return whether the reply to `WAITAOF` says so of the primary's disk and of theirs."""
    return (
        isinstance(reply, Sequence) and len(reply) == 2 and reply[0] >= 1 and reply[1] >= replicas
    )


def count_replicas(role: Sequence[Any]) -> int:
    """Return how many replicas are in step, by the reply to ROLE; none for a replica's own."""
    return len(role[2]) if role[0] == b"master" else 0


def shortfall(reply: object, replicas: int) -> str:
    """Say why a write is not acknowledged, by the reply that is not enough."""
    if isinstance(reply, Exception):
        return f"{CANNOT}: {reply}"
    if isinstance(reply, int):
        return f"{reply} of {replicas} replicas have received a write"
    return f"a write is on disk on [primary, replicas] {reply} of [1, {replicas}]"
