"""The stop flag for a graceful shutdown of the worker's tasks.

Celery's warm shutdown waits for running tasks but does not notify them. Ours run
for as long as the worker does, so they check this flag between batches.
"""

import threading

_stop = threading.Event()


def ask_to_stop() -> None:
    _stop.set()


def is_asked_to_stop() -> bool:
    """Return whether a task should end now; remaining work waits for another worker."""
    return _stop.is_set()
