"""A child of the worker: a Celery worker for one queue, with a thread for each duty.

It indexes in one thread, or persists in one for each shard. Tasks run in threads because they last
as long as the process: meanwhile Celery's event loop keeps the connection to the broker alive and
handles signals.
"""

import logging
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

import django
from celery import signals
from celery.worker.consumer import Consumer
from django.conf import settings

from contract.tasks import PERSIST_QUEUE
from crud_service.duties.celery_app import app
from crud_service.duties.lease import stopping
from crud_service.postgresql import PERSISTER
from crud_service.search.index.elasticsearch_index import has_elasticsearch
from crud_service.startup import refuse, refuse_to_serve
from crud_service.worker.dropped_lines import DROPPED_LINES
from crud_service.worker.heartbeat import beat_into
from crud_service.worker.sweep import Sweep
from web.json_logs import configure
from web.log_output import drain_all
from web.process_signals import signal_when_parent_dies

app.steps["worker"].add(Sweep)

# After SIGTERM a child exits within this time, even if a store does not answer.
SHUTDOWN_SECONDS = 8
# These log every task's start and end; our own line for each batch says more.
CHATTY = ("celery.worker.strategy", "celery.app.trace")
# Before the next attempt to use a broker that can be reached, but refuses writes.
REFUSED_PAUSE_SECONDS = 1.0


class SteadyConsumer(Consumer):
    """Closes its connection to a broker that refuses writes, as a read-only replica does.

    Celery would leave it open and try again ten times a second: soon neither this process nor the
    broker could have any more connections.
    """

    amqheartbeat: float | None
    hub: Any

    def connect(self) -> Any:
        """Return a connection, registered with the event loop; upon an error, pause."""
        connection = self.connection_for_read(heartbeat=self.amqheartbeat)
        try:
            if self.hub:
                connection.transport.register_with_event_loop(connection.connection, self.hub)
        except Exception:
            connection.close()
            time.sleep(REFUSED_PAUSE_SECONDS)
            raise
        return connection


def prepare() -> None:
    """Import and configure what all children need, without opening connections.

    Exits with code 1 if the environment does not allow the worker to start.
    """
    if refuse_to_serve("worker") or refuse_broker():
        sys.exit(1)
    configure_logs()
    harden_database()
    django.setup()
    app.loader.import_default_modules()
    if has_elasticsearch():
        import crud_service.search.feed.attempts  # noqa: F401 - what feeds it, once for all children


def refuse_broker() -> bool:
    """Print to stderr that Celery cannot use the address of its broker; return whether it cannot.

    redis-py knows more options than Celery, whose message may quote a part of a password.
    """
    try:
        app.connection_for_read()
    except Exception:
        name, more = "BROKER_URL", ""
        if settings.BROKER_URL == settings.REDIS_URL:
            name, more = "REDIS_URL", ": set BROKER_URL to one without options"
        return refuse("worker", f"{name} is no address that Celery can use{more}")
    return False


def run(queue: str, name: str, heartbeat: int) -> NoReturn:
    """Run as a child until asked to stop; never return.

    Args:
        queue: the one from which it takes tasks.
        name: its name for Celery.
        heartbeat: the descriptor of the pipe to the parent.
    """
    code = 0
    try:
        signal_when_parent_dies(signal.SIGKILL)
        beat_into(heartbeat)
        # Not by `worker_main`, which imports Celery's whole command line, in each child again.
        worker = app.Worker(
            hostname=name,
            queues=queue,
            pool_cls="threads",
            consumer_cls=SteadyConsumer,
            concurrency=settings.SHARDS if queue == PERSIST_QUEUE else 1,
            loglevel=settings.LOG_LEVEL,
            quiet=True,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        worker.start()
        code = worker.exitcode or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        code = 1
        logging.getLogger(__name__).exception("a child failed")
    finally:
        drain_all()
        os._exit(code)  # the callers up the stack belong to the parent


@signals.setup_logging.connect
def configure_logs(**_kwargs: Any) -> None:
    configure("worker", settings.LOG_LEVEL, DROPPED_LINES.note)
    logging.captureWarnings(True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


@signals.worker_shutting_down.connect
def on_shutdown(**_kwargs: Any) -> None:
    stopping.set()
    threading.Thread(target=leave_in_time, name="shutdown", daemon=True).start()


def leave_in_time() -> None:
    """Exit if a shutdown waits for a store too long: unstored entries are still in the stream."""
    time.sleep(SHUTDOWN_SECONDS)
    os._exit(0)


def harden_database() -> None:
    """Have Django's ORM connect as the persister must; before Django is set up."""
    settings.DATABASES["default"]["OPTIONS"] |= PERSISTER
