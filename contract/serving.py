"""Runs the HTTP server of a service: what uvicorn is told, and how the process ends."""

import signal
import sys
from typing import Any

import uvicorn

from contract.http_server import GRACE_SECONDS, Protocol


def options(host: str, port: int) -> dict[str, Any]:
    """What uvicorn is told."""
    return {
        "factory": True,
        "host": host,
        "port": port,
        "http": Protocol,
        "ws": "none",
        "loop": "uvloop",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "backlog": 4096,
        # A process that stood still for some seconds must not close connections on
        # which requests have arrived meanwhile.
        "timeout_keep_alive": 75,
        "timeout_graceful_shutdown": GRACE_SECONDS,
    }


def exit_after_sigterm() -> None:
    """Have the process end with 0: when it has stopped, uvicorn raises the signal once more."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def serve(factory: str, host: str, port: int) -> None:
    """Serve what `factory` (`module:function`) makes until SIGTERM, in this process."""
    exit_after_sigterm()
    # A single process ends in good order, to be started again.
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    uvicorn.run(factory, **options(host, port))
