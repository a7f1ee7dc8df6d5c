"""Runs the service: `python -m numbering_service`."""

import os
import signal
import sys
from multiprocessing import parent_process
from tempfile import TemporaryDirectory

import uvicorn
from uvicorn.supervisors import Multiprocess

from contract.settings_reading import SettingsError
from numbering_service.settings import Settings
from web.death_signal import signal_when_parent_dies
from web.server.limits import LIMITS, Limits, raise_descriptor_limit
from web.server.serving import exit_after_sigterm, listening_sockets, options, serve

APPLICATION = "numbering_service.__main__:application"
# Within which a process must answer its parent, and a new one be ready for the one it replaces to
# be ended. On a busy machine a start takes more than uvicorn's 5 s, and a restart was given up.
PROCESS_SECONDS = 30


def main(limits: Limits = LIMITS) -> int:
    """Serve until SIGTERM; return the exit code, 2 for an invalid environment."""
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        sys.stderr.write(f"numbering_service: {error}\n")
        return 2
    if settings.processes == 1:
        serve(APPLICATION, settings.host, settings.port, limits)
    else:
        serve_in_several(settings, limits)
    return 0


def serve_in_several(settings: Settings, limits: Limits) -> None:
    """Supervise several serving processes until SIGTERM."""
    sockets = listening_sockets(settings.host, settings.port)
    raise_descriptor_limit(limits)
    exit_after_sigterm()
    chosen = options(settings.host, settings.port, limits)
    config = uvicorn.Config(
        APPLICATION,
        workers=settings.processes,
        timeout_worker_healthcheck=PROCESS_SECONDS,
        **chosen,
    )
    with TemporaryDirectory(prefix="numbering-metrics-") as shared:
        # Where the processes share their metrics; prometheus_client reads it when imported.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        Processes(config, sockets).run()


class Processes(Multiprocess):
    """uvicorn's supervisor, which closes the listening sockets before it stops its processes.

    They share the sockets with their parent: while the parent listens, the kernel
    keeps accepting connections, and resets them with their requests at the end.
    """

    def terminate_all(self) -> None:
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def application() -> object:
    """uvicorn's factory, called in each serving process."""
    from numbering_service.main import build

    if os.environ.get("NUMBERING_PROCESSES", "1") != "1":
        end_with_parent()
    return build()


def end_with_parent() -> None:
    """Have Linux send SIGTERM when the parent dies.

    Otherwise the children of a killed parent would go on serving on the port,
    and a new parent could not bind it.
    """
    signal_when_parent_dies(signal.SIGTERM)
    parent = parent_process()
    if parent is not None and os.getppid() != parent.pid:
        sys.exit("numbering_service: the parent died before this process was ready")


if __name__ == "__main__":
    sys.exit(main())
