"""Runs a service's HTTP server: uvicorn's options, and how the process ends."""

import signal
import sys
from typing import Any

import uvicorn

from web.server import limits
from web.server.protocol import Protocol


def options(host: str, port: int) -> dict[str, Any]:
    """The options that uvicorn is run with."""
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
        "timeout_keep_alive": int(limits.KEEP_ALIVE_SECONDS),
        "timeout_graceful_shutdown": limits.GRACE_SECONDS,
    }


def exit_after_sigterm() -> None:
    """Make the process exit with 0: uvicorn raises the signal once more after a shutdown."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def serve(factory: str, host: str, port: int) -> None:
    """Serve what `factory` (`module:function`) makes until SIGTERM, in this process."""
    limits.raise_descriptor_limit()
    exit_after_sigterm()
    # A single process shuts down gracefully, to be started again.
    signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
    uvicorn.run(factory, **options(host, port))
