"""Limits of streams. Other modules read these as `stream_limits.NAME` when they need them."""

# Streams and waiting lists of one application, in this process.
STREAMS_OF_AN_APPLICATION = 1000
# A waiting list keeps its query and headers, as they are needed for its answer.
HEAD_BYTES_OF_A_WAIT = 16 * 1024
# A stream ends by itself after about this time, so that connections are spread anew over the
# processes behind a load balancer.
LIFETIME_SECONDS = 600.0
# Proxies and clients close a connection that is silent for longer, often after 30 or 60 seconds.
HEARTBEAT_SECONDS = 15.0
LOOK_SECONDS = 1.0
