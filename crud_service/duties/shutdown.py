"""The worker's "stop soon", as its tasks see it.

Celery's warm shutdown waits for running tasks but does not tell them. Ours run
for as long as the worker does, so they look here between two batches.
"""

import threading

_stop = threading.Event()


def ask_to_stop() -> None:
    """Tell every task of this process to end after its current batch."""
    _stop.set()


def is_asked_to_stop() -> bool:
    """Whether a task should end now; what is left waits for another worker."""
    return _stop.is_set()
