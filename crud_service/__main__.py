"""The HTTP server: `python -m crud_service`, on HOST and CRUD_PORT."""

import os
import sys
from functools import partial

from web.process_signals import end_on_ctrl_c

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")
end_on_ctrl_c()

from crud_service import settings
from crud_service.live.stream_limits import STREAM_LIMITS, StreamLimits
from crud_service.monitoring.request_metrics import LOG_LINES_DROPPED
from crud_service.startup import refuse_to_serve, warnings
from web.json_logs import configure
from web.server.limits import LIMITS, Limits
from web.server.serving import serve


def main(limits: Limits = LIMITS, stream_limits: StreamLimits = STREAM_LIMITS) -> int:
    """Serve until SIGTERM or SIGINT, shut down gracefully, and return the exit code."""
    if refuse_to_serve("crud_service"):
        return 1
    configure("crud", settings.LOG_LEVEL, LOG_LINES_DROPPED.inc)
    warnings()
    factory = partial(application, stream_limits)
    serve(factory, settings.HOST, settings.CRUD_PORT, limits)
    return 0


def application(stream_limits: StreamLimits) -> object:
    """Return what answers requests, as `web.server` runs it."""
    from crud_service import wsgi  # sets Django up, and sorts before every module below it
    from crud_service.monitoring.request_log import request_log
    from crud_service.server.bridge import Server

    return Server(wsgi.application, request_log(), stream_limits)


if __name__ == "__main__":
    sys.exit(main())
