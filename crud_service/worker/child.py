"""A child of the worker: a Celery worker for one queue, with one thread that runs its task.

A thread, since the task runs for as long as the process: Celery's event loop beside
it keeps the connection to the broker alive and takes signals.
"""

import ctypes
import logging
import os
import signal
import sys
import threading
import time
from typing import Any, NoReturn

import django
from celery import signals
from django.conf import settings

from crud_service.duties.celery_app import app
from crud_service.duties.shutdown import ask_to_stop
from crud_service.startup import refuse_to_start
from crud_service.worker.dropped_lines import DROPPED_LINES
from crud_service.worker.heartbeat import beat_into
from crud_service.worker.sweep import Sweep
from web.json_logs import configure
from web.log_output import drain_all

app.steps["worker"].add(Sweep)

# SIGTERM ends a child in time, even when a store does not answer.
SHUTDOWN_SECONDS = 8
# Celery tells of every task's start and end; our own line on each batch says more.
CHATTY = ("celery.worker.strategy", "celery.app.trace")
_PR_SET_PDEATHSIG = 1


def prepare() -> None:
    """Import and configure what all children need; connects to nothing.

    Ends the process where the environment does not allow it to start.
    """
    if refuse_to_start("worker"):
        sys.exit(1)
    configure_logs()
    harden_database()
    django.setup()
    app.loader.import_default_modules()


def run(queue: str, name: str, heartbeat: int) -> NoReturn:
    """Be a child until told to stop; never returns."""
    code = 0
    try:
        die_with_parent()
        beat_into(heartbeat)
        app.worker_main(
            [
                "--quiet",
                "worker",
                f"--hostname={name}",
                f"--queues={queue}",
                "--pool=threads",
                "--concurrency=1",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
                f"--loglevel={settings.LOG_LEVEL}",
            ]
        )
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        code = 1
        logging.getLogger(__name__).exception("a child failed")
    finally:
        drain_all()
        os._exit(code)  # the rest of the stack is the parent's


@signals.setup_logging.connect
def configure_logs(**_kwargs: Any) -> None:
    """One line of JSON for everything that is said, warnings included."""
    configure("worker", settings.LOG_LEVEL, DROPPED_LINES.note)
    logging.captureWarnings(True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


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
    """Time-outs on PostgreSQL, so that a half-open link or a lock cannot hold a worker for good."""
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
