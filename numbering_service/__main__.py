"""Runs the service: `python -m numbering_service`."""

import os
import sys
from tempfile import TemporaryDirectory

from web.process_signals import end_on_ctrl_c

end_on_ctrl_c()

from contract.settings_reading import SettingsError
from numbering_service.processes import SERVICE, SHARED_METRICS, Processes
from numbering_service.settings import Settings
from web.json_logs import configure
from web.server.limits import LIMITS, Limits
from web.server.serving import exit_on_signals, listening_sockets, serve


def main(limits: Limits = LIMITS) -> int:
    """Serve until SIGTERM; return the exit code, 2 for an invalid environment."""
    try:
        settings = Settings.from_env()
    except SettingsError as error:
        sys.stderr.write(f"numbering_service: {error}\n")
        return 2
    if settings.processes == 1:
        serve(SERVICE, settings.host, settings.port, limits)
        return 0
    return serve_in_several(settings, limits)


def serve_in_several(settings: Settings, limits: Limits) -> int:
    """Supervise several serving processes until SIGTERM; return the exit code."""
    sockets = listening_sockets(settings.host, settings.port)
    exit_on_signals()
    configure("numbering", settings.log_level)
    try:
        shared = TemporaryDirectory(prefix="numbering-metrics-")
    except OSError as error:
        sys.stderr.write(f"numbering_service: no directory for shared metrics: {error}\n")
        return 2
    with shared:
        # Where the processes share their metrics; prometheus_client reads it when imported.
        os.environ[SHARED_METRICS] = shared.name
        return Processes(settings, limits, sockets).run()


if __name__ == "__main__":
    sys.exit(main())
