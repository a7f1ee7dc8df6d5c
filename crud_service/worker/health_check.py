"""`python -m crud_service.worker.health_check`: whether the worker on this host is running.

For a container's health check. A worker listens on no port, but each of its children
contacts Redis every few seconds: Redis knows from which address, and how long ago.
"""

import os
import sys

from redis import Redis, RedisError

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")

from contract.tasks import INDEX_QUEUE, PERSIST_QUEUE
from crud_service.stores.redis_clients import connect_worker, sweep_name

SILENT_SECONDS = 10
TIMEOUT_SECONDS = 3


def main() -> int:
    """Return 0 if a worker on this host contacted Redis recently, else print why not, return 1."""
    try:
        with connect_worker(TIMEOUT_SECONDS, client_name="health_check") as redis:
            if is_at_work(redis):
                return 0
        reason = f"no worker on this host has contacted Redis for {SILENT_SECONDS} s"
    except RedisError as error:
        reason = f"Redis does not answer: {error}"
    print(reason, file=sys.stderr)  # noqa: T201 - to a person
    return 1


def is_at_work(redis: Redis) -> bool:
    """Return whether the children of all queues contacted Redis from our address recently."""
    clients = redis.client_list()
    own_id = str(redis.client_id())
    host = next(host_of(client["addr"]) for client in clients if client["id"] == own_id)
    recent = {
        client["name"]
        for client in clients
        if host_of(client["addr"]) == host and int(client["idle"]) < SILENT_SECONDS
    }
    return recent >= {sweep_name(queue) for queue in (PERSIST_QUEUE, INDEX_QUEUE)}


def host_of(address: str) -> str:
    return address.rpartition(":")[0]


if __name__ == "__main__":
    sys.exit(main())
