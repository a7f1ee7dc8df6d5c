"""All limits of the server: what a request may be, how much a process holds, how long it waits."""

import resource
from dataclasses import dataclass
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024

# A request.
HEAD_BYTES: Final = 64 * KIB
HEAD_LINES: Final = 512  # parsing takes time per line
LONG_HEAD_BYTES: Final = 8 * KIB  # longer ones are read one per turn
BODY_BYTES: Final = MIB
# A maximum-size body sent in one-byte chunks is six times as long on the wire.
CHUNKED_WIRE_BYTES: Final = 8 * MIB
CHUNK_LINE_BYTES: Final = 256
# Chunks of one body per turn; other connections are served between two turns.
CHUNKS_A_TURN: Final = 1024
TRAILER_BYTES: Final = 16 * KIB

# A process: see also `Limits`.
# Bodies above this size may together pin this part of `arriving_bytes`, so that smaller ones find
# room beside them.
LARGE_BODY_BYTES: Final = 64 * KIB
LARGE_BODIES_PART: Final = 0.75
# New connections per iteration of the event loop; a busy one has thirty iterations a second. Each
# adds two microseconds to every new connection.
ACCEPTS_A_TURN: Final = 16
# Beyond these, connections are answered 503; beyond that many more, closed without an answer.
REFUSED_CONNECTIONS: Final = 64
# How much of an answer a client may leave unread before its producer is paused.
UNREAD_BYTES_A_CONNECTION: Final = 64 * KIB
# What the kernel keeps for the client of a stream beyond that (it doubles the number); without
# a limit it keeps up to 4 MB.
UNSENT_BYTES_A_STREAM: Final = 64 * KIB

# Time, in seconds: see also `Limits`.
# A refused client may still be sending. Its data is read and dropped for a while,
# since closing at once would reset the connection before it reads the answer.
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 8 * MIB
# A graceful shutdown: idle connections may bring one more request for a moment.
DRAIN_SECONDS: Final = 1.5
GRACE_SECONDS: Final = 8

# Descriptors other than client connections: logs, stores, listening sockets.
_OTHER_DESCRIPTORS: Final = 256


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that are chosen when a process starts.

    Attributes:
        connections: how many clients may be connected.
        arriving_bytes: for requests that are arriving, and the bodies of those whose answers have
            not begun; three quarters of it for bodies over 64 KiB.
            When more is needed, the upload that has made no progress for longest gives way.
        unread_bytes: for answers that clients have not read yet. When more is needed, the client
            that has read nothing for longest is disconnected.
        read_seconds: for a request from its first byte; before, for that byte to arrive.
        keep_alive_seconds: between two requests.
        write_seconds: without a byte read by the client.
    """

    connections: int = 12_000
    arriving_bytes: int = 64 * MIB
    unread_bytes: int = 64 * MIB
    read_seconds: float = 30.0
    keep_alive_seconds: float = 75.0
    write_seconds: float = 20.0

    def connection_ceiling(self, files: int) -> int:
        """Return how many connections a process may accept that may open so many files."""
        if files == resource.RLIM_INFINITY:
            return self.connections
        return max(1, min(self.connections, files - _OTHER_DESCRIPTORS))

    def files_wanted(self, files: int, most: int) -> int:
        """Return how many files a process should be allowed to open, as far as it may decide.

        Args:
            files: how many it may open now (the soft limit).
            most: how many it may allow itself (the hard limit).
        """
        wanted = self.connections + _OTHER_DESCRIPTORS
        if most != resource.RLIM_INFINITY:
            wanted = min(wanted, most)
        return files if files == resource.RLIM_INFINITY else max(files, wanted)


LIMITS = Limits()


def raise_descriptor_limit(limits: Limits) -> None:
    """Raise the soft limit of open files to what the ceiling needs, up to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits.files_wanted(soft, hard), hard))
