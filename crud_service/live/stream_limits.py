"""Limits of streams."""

from dataclasses import dataclass

# A waiting list keeps its query and headers, as they are needed for its answer.
HEAD_BYTES_OF_A_WAIT = 16 * 1024
LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits that are chosen when a process starts.

    Attributes:
        of_an_application: streams and waiting lists of one application, in this process.
        lifetime_seconds: a stream ends by itself after about this time, so that connections are
            spread anew over the processes behind a load balancer.
        heartbeat_seconds: between two signs of life. Proxies and clients close a connection that
            is silent for longer, often after 30 or 60 seconds.
    """

    of_an_application: int = 1000
    lifetime_seconds: float = 600.0
    heartbeat_seconds: float = 15.0


STREAM_LIMITS = StreamLimits()
