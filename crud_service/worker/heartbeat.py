"""The heartbeat of a child of the worker: a byte in a pipe to its parent, once a second."""

import os
import signal
import threading
import time

INTERVAL_SECONDS = 1.0

_pipe: int | None = None


def beat_into(pipe: int) -> None:
    """Send the heartbeats of this process into a pipe of its parent."""
    global _pipe  # one process, one parent
    os.set_blocking(pipe, False)
    _pipe = pipe


def start_beating() -> None:
    """Send heartbeats from a thread, until the process ends."""
    threading.Thread(target=beat, name="heartbeat", daemon=True).start()


def beat() -> None:
    """Send heartbeats while the parent exists; without one, shut down gracefully."""
    while _pipe is not None:
        try:
            os.write(_pipe, b".")
        except BlockingIOError:  # the parent is frozen, and the pipe is full
            pass
        except BrokenPipeError:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(INTERVAL_SECONDS)
