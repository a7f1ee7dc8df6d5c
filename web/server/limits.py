"""All limits of the server: how much one process holds, and how long it waits.

Other modules read these as `limits.NAME` when they need them, so that a test
can start a process with shorter timeouts.
"""

import resource

KIB, MIB = 1024, 1024 * 1024

# A request.
HEAD_BYTES = 64 * KIB
HEAD_LINES = 512  # parsing takes time per line
BODY_BYTES = MIB
# A maximum-size body sent in one-byte chunks is six times as long on the wire.
CHUNKED_WIRE_BYTES = 8 * MIB
CHUNK_LINE_BYTES = 256
# Chunks of one body per turn; other connections are served between two turns.
CHUNKS_A_TURN = 1024
TRAILER_BYTES = 16 * KIB

# A process.
CONNECTIONS = 12_000
# Beyond these, connections are answered 503; beyond that many more, closed without an answer.
REFUSED_CONNECTIONS = 64
# Requests that are arriving, and the bodies of those not answered yet. When more is
# needed, the upload that has made no progress for longest gives way.
ARRIVING_BYTES = 64 * MIB
# Answers that clients have not read yet. When more is needed, the client that has
# read nothing for longest is disconnected.
UNREAD_BYTES = 64 * MIB
# Of these, how much one connection may have before its producer is paused.
UNREAD_BYTES_A_CONNECTION = 64 * KIB
# What the kernel keeps for the client of a stream beyond that (it doubles the number); without
# a limit it keeps up to 4 MB.
UNSENT_BYTES_A_STREAM = 64 * KIB

# Time, in seconds.
READ_SECONDS = 30.0  # for a request from its first byte; before, for that byte to arrive
KEEP_ALIVE_SECONDS = 75.0  # between two requests
WRITE_SECONDS = 20.0  # without a byte read by the client
# A refused client may still be sending. Its data is read and dropped for a while,
# since closing at once would reset the connection before it reads the answer.
LINGER_SECONDS = 2.0
LINGER_BYTES = 8 * MIB
# A graceful shutdown: idle connections may bring one more request for a moment.
DRAIN_SECONDS = 1.5
GRACE_SECONDS = 8

# Descriptors other than client connections: logs, stores, listening sockets.
_OTHER_DESCRIPTORS = 256


def connection_ceiling() -> int:
    """Return how many connections this process may accept."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return CONNECTIONS
    return max(1, min(CONNECTIONS, soft - _OTHER_DESCRIPTORS))


def raise_descriptor_limit() -> None:
    """Raise the soft limit of open files to what the ceiling needs, up to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + _OTHER_DESCRIPTORS
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
