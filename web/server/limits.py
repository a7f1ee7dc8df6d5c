"""What one process holds and waits for at most. Every bound of the server has its name here.

Other modules read these as `limits.NAME` when they need them, so that a test
can start a process with less patience.
"""

import resource

KIB, MIB = 1024, 1024 * 1024

# A request.
HEAD_BYTES = 64 * KIB
HEAD_LINES = 512  # parsing costs time by the line
BODY_BYTES = MIB
# A maximum-size body sent in one-byte chunks is six times as long on the wire.
CHUNKED_WIRE_BYTES = 8 * MIB
CHUNK_LINE_BYTES = 256
# Of one body at a time; other connections are served between two turns.
CHUNKS_A_TURN = 1024
TRAILER_BYTES = 16 * KIB

# A process.
CONNECTIONS = 12_000
# Beyond these, connections are answered 503; beyond that many more, closed without an answer.
REFUSED_CONNECTIONS = 64
# Requests that are arriving, and the bodies of those not answered yet. The upload
# that made no progress for longest gives way when more is needed.
ARRIVING_BYTES = 64 * MIB
# Answers that their readers have not taken yet. The reader that stands still
# for longest is disconnected when more is needed.
UNREAD_BYTES = 64 * MIB
# Of these, one connection may have as much before its producer is paused.
UNREAD_BYTES_A_CONNECTION = 64 * KIB

# Time, in seconds.
READ_SECONDS = 30.0  # for a request to arrive, from its first byte; and for that to come
KEEP_ALIVE_SECONDS = 75.0  # between two requests
WRITE_SECONDS = 20.0  # without a byte read by the client
# A refused client may still be sending: what it sends is read and dropped for a
# while, since closing at once would reset the connection before it reads why.
LINGER_SECONDS = 2.0
LINGER_BYTES = 8 * MIB
# A graceful shutdown: idle connections may bring one more request for a moment.
DRAIN_SECONDS = 1.5
GRACE_SECONDS = 8

# Descriptors that are no connections of clients: logs, stores, listening sockets.
_OTHER_DESCRIPTORS = 256


def connection_ceiling() -> int:
    """How many connections this process may accept."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS
    return max(1, min(CONNECTIONS, soft - _OTHER_DESCRIPTORS))


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files as far as the ceiling needs and the hard limit lets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + _OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
