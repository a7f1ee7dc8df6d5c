"""Our own processes: crud, worker and numbering, as parts of the stack."""

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import httpx
import redis

from local_stack.compiled import tree
from local_stack.console import Waiting, done
from local_stack.failure import StackError
from local_stack.layout import Layout
from local_stack.ports import PLAIN_HTTP
from local_stack.process import Part, last_line, run_to_end

ROOT = Path(__file__).resolve().parent.parent
# Those that `make compiled` compiles.
COMPILED_PACKAGES = {"crud_service", "numbering_service"}
# What may be chosen on the command line of make, and decides which stores, keys and indexes the
# management commands use: they have to agree with the services.
SHARED_SETTINGS = (
    "BROKER_URL",
    "DATABASE_READ_URL",
    "ELASTICSEARCH_REPLICAS",
    "REPLICAS_TO_ACKNOWLEDGE",
    "SEARCH_INDEX",
    "SHARDS",
)


def shared_settings() -> dict[str, str]:
    """Return the settings chosen by the caller that belong into stack.env; none without any."""
    return {name: os.environ[name] for name in SHARED_SETTINGS if os.environ.get(name)}


def migrate(layout: Layout, environment: Mapping[str, str]) -> None:
    """Create or update the tables; raises StackError when that fails."""
    waiting = Waiting()
    command = (sys.executable, "-m", "crud_service.manage", "migrate", "--noinput")
    with layout.open_log("migrate") as log:
        tell = partial(waiting.tell, "creating the tables")
        if not run_to_end(command, log, tell, {**os.environ, **environment}):
            path = layout.logs / "migrate.log"
            raise StackError(f"the tables can't be created: {last_line(path)} [{path}]")
    done("tables", waiting.seconds)


def applications(environment: Mapping[str, str]) -> list[Part]:
    """crud, worker and numbering, in the order in which they start."""
    return [
        module("crud", "crud_service", environment, environment["CRUD_URL"]),
        worker(environment),
        module("numbering", "numbering_service", environment, environment["NUMBERING_URL"]),
    ]


def worker(environment: Mapping[str, str], name: str = "worker", workers: int = 1) -> Part:
    """Return a worker as a part; one of several is ready once all of them are.

    Args:
        environment: variables besides those of the supervisor.
        name: its name as a part.
        workers: how many of them share the broker.
    """
    broker = environment.get("BROKER_URL") or environment["REDIS_URL"]
    return Part(
        name,
        (sys.executable, "-m", "crud_service.worker"),
        is_ready=lambda: workers_listen(broker, workers),
        environment=environment,
    )


def module(name: str, package: str, environment: Mapping[str, str], url: str) -> Part:
    """Return a service as a part.

    Args:
        name: its name as a part.
        package: what `python -m` runs.
        environment: variables besides those of the supervisor.
        url: where it tells whether it is live.
    """
    return Part(
        name,
        (sys.executable, "-m", package),
        is_ready=lambda: is_live(url),
        environment=environment,
        environment_at_start=tree.import_variables if package in COMPILED_PACKAGES else dict,
    )


def is_live(url: str) -> bool:
    """Return whether a service answers that it is live."""
    try:
        return httpx.get(f"{url}/health/live", timeout=2, **PLAIN_HTTP).status_code == 200
    except httpx.HTTPError:
        return False


def workers_listen(url: str, workers: int) -> bool:
    """Whether both children of each worker wait for tasks: each then blocks in a BRPOP."""
    client = redis.Redis.from_url(url, socket_timeout=2, retry=None)
    try:
        return sum(entry.get("cmd") == "brpop" for entry in client.client_list()) >= 2 * workers
    except redis.RedisError:
        return False
    finally:
        client.close()
