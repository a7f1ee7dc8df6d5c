"""Names of the Celery tasks and of their queues: an API between the services.

Both tasks return nothing: they mean "no worker is persisting this shard" or "no worker
is indexing", so losing one costs latency and never data. A task that finds the lease
free runs for as long as its worker does; the others end at once. Persisting takes the
number of the shard, 0 if it is left out; indexing takes no arguments.

| task                    | sent by                                   | run by                |
|-------------------------|-------------------------------------------|-----------------------|
| chat.persist_accepted   | numbering service, the worker's own sweep | `crud_service.worker` |
| search.index_pending    | crud_service, the worker's own sweep      | `crud_service.worker` |
"""

PERSIST_ACCEPTED = "chat.persist_accepted"
INDEX_PENDING = "search.index_pending"

PERSIST_QUEUE = "persist"
INDEX_QUEUE = "index"


def persisting_arguments(shard: int) -> tuple[int, ...]:
    """Return the arguments of `PERSIST_ACCEPTED`: none for the first shard."""
    return (shard,) if shard else ()


# A wake-up means "now". A worker discards an older one, so that those sent while no worker ran,
# or sent again by the broker (`visibility_timeout`), do not pile up in its memory.
EXPIRES_SECONDS = 30

# The header of a task message with the id of the request that caused it.
REQUEST_ID_HEADER = "request_id"

# The broker's settings are part of the contract: without the timeouts a worker was
# seen to hang indefinitely on a half-open connection, and a publisher with it.
BROKER_TRANSPORT_OPTIONS: dict[str, float | bool] = {
    "socket_timeout": 5.0,
    "socket_connect_timeout": 3.0,
    "socket_keepalive": True,
    # Celery gives up on a silent connection after a second more than this, or twice that.
    "health_check_interval": 3,
    "visibility_timeout": 60,
    # One retry, soon: by default, sending takes six seconds to fail while a broker refuses it.
    "max_retries": 1,
    "interval_start": 0.2,
}
