"""The worker: `python -m crud_service.worker`, or `celery -A crud_service.worker worker …`.

Two children, so that persisting and indexing do not wait for one another: of
each kind one task runs and any other finds the lease taken and ends at once.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

from celery import signals
from django.conf import settings

from contract.json_logs import configure
from contract.tasks import INDEX_QUEUE, PERSIST_QUEUE
from crud_service.celery_app import app
from crud_service.chat.shutdown import ask_to_stop
from crud_service.chat.sweep import Sweep
from crud_service.dropped_lines import DROPPED_LINES
from crud_service.startup import refuse_to_start

__all__ = ["app", "main"]

app.steps["worker"].add(Sweep)

CHILDREN = 2
# SIGTERM ends the worker within ten seconds, even when a store does not answer.
SHUTDOWN_SECONDS = 8
# Celery tells of every task's start and end; our own line on each batch says more.
CHATTY = ("celery.worker.strategy", "celery.app.trace")
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Run the worker until it is told to stop."""
    configure_logs()
    app.worker_main(
        [
            "--quiet",
            "worker",
            f"--queues={PERSIST_QUEUE},{INDEX_QUEUE}",
            f"--concurrency={CHILDREN}",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            f"--loglevel={settings.LOG_LEVEL}",
        ]
    )


@signals.setup_logging.connect
def configure_logs(**_kwargs: Any) -> None:
    """One line of JSON for everything that is said, warnings included."""
    configure("worker", settings.LOG_LEVEL, DROPPED_LINES.note)
    logging.captureWarnings(True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


@signals.worker_init.connect
def on_worker_init(**_kwargs: Any) -> None:
    if refuse_to_start("worker"):
        os._exit(1)
    harden_database()


@signals.worker_process_init.connect
def on_child_start(**_kwargs: Any) -> None:
    die_with_parent()


@signals.worker_shutting_down.connect
def on_shutdown(**_kwargs: Any) -> None:
    ask_to_stop()
    threading.Thread(target=leave_in_time, name="shutdown", daemon=True).start()


def leave_in_time() -> None:
    """End a shutdown that waits for a store: what is not stored is still in the stream."""
    time.sleep(SHUTDOWN_SECONDS)
    os._exit(0)


def die_with_parent() -> None:
    """Have the kernel end this child when its parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def harden_database() -> None:
    """Time-outs on PostgreSQL, so that a half-open link or a lock cannot hold a worker for good.

    A pool of connections is left to the HTTP service: its threads do not
    survive the fork of a child.
    """
    database: dict[str, Any] = settings.DATABASES["default"]
    options = database.setdefault("OPTIONS", {})
    options.pop("pool", None)
    options.update(
        application_name="worker",
        connect_timeout=3,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        tcp_user_timeout=10_000,
        # A frozen child in mid-transaction must not keep its locks.
        options="-c statement_timeout=30s -c idle_in_transaction_session_timeout=10s -c jit=off",
    )


if __name__ == "__main__":
    main()
