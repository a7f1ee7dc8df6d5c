"""The HTTP server: `python -m crud_service`, on HOST and CRUD_PORT.

One process waits for signals, one serves: many threads, since every request
waits for PostgreSQL. The first stays small; Django is loaded by the second alone.
"""

import ctypes
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MPServer

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")

from contract.json_logs import configure
from crud_service import settings
from crud_service.slow_clients import THREADS
from crud_service.startup import refusals, warnings

STOP_SECONDS = 8
# Granian's own logs go where ours go.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}
PR_SET_PDEATHSIG = 1
# Idle ones included, of which there may be as many as the system lets us have: with
# Granian's own limit a thousand of them keep everybody else out.
CONNECTIONS = 65_536


def main() -> int:
    """Serve until SIGTERM or SIGINT; then finish what runs and return the exit code."""
    configure("crud", settings.LOG_LEVEL)
    for reason in refusals():
        print(f"crud_service does not start: {reason}", file=sys.stderr)  # noqa: T201 - to a person
    if refusals() or not port_is_free():
        return 1
    warnings()
    server().serve(target_loader=load_application, wrap_loader=False)
    return 0


def server() -> MPServer:
    """Granian, with one process of many threads."""
    return MPServer(
        "crud_service.wsgi:application",
        address=settings.HOST,
        port=settings.CRUD_PORT,
        interface=Interfaces.WSGI,
        workers=1,
        backlog=4096,
        backpressure=CONNECTIONS,
        blocking_threads=THREADS,
        blocking_threads_idle_timeout=600,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=10_000, max_buffer_size=64 * 1024),
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=LOGGING,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        workers_kill_timeout=STOP_SECONDS,
    )


def load_application() -> Callable[..., Any]:
    """The WSGI application, in the process that serves."""
    die_with_parent()
    from crud_service.wsgi import application, request_log

    request_log.start()
    return application


def die_with_parent() -> None:
    """Have the kernel end this process when the one that started it was killed.

    Otherwise it would go on serving, and holding the port, with nobody to stop it.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before. (Its id proves nothing: in a container it is 1.)
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        sys.exit(1)


def port_is_free() -> bool:
    """Whether the port can be had; says which one cannot."""
    address = (settings.HOST, settings.CRUD_PORT)
    try:
        with socket.socket(socket.AF_INET6 if ":" in settings.HOST else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        print(f"crud_service cannot listen on {address}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
