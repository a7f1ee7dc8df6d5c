"""The worker's "stop soon", as its children see it.

Celery's warm shutdown waits for running tasks but does not tell them. Our tasks
run for as long as there is work, so they look here between two batches. The
flag is a byte of memory that the children share with the process they are
forked from, replacements of dead children included.
"""

import mmap

_flag = mmap.mmap(-1, 1)


def ask_to_stop() -> None:
    """Tell every task of this worker to end after its current batch."""
    _flag[0] = 1


def is_asked_to_stop() -> bool:
    """Whether a task should end now; what is left waits for another worker."""
    return _flag[0] == 1
