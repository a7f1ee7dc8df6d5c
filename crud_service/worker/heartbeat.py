"""How a child of the worker tells its parent that it lives: a byte in a pipe, once a second."""

import os
import signal
import threading
import time

INTERVAL_SECONDS = 1.0

_pipe: int | None = None


def beat_into(pipe: int) -> None:
    """Name the pipe of this process."""
    global _pipe  # one process, one parent
    os.set_blocking(pipe, False)
    _pipe = pipe


def start_beating() -> None:
    """Tell the parent from now on that this process is at work."""
    threading.Thread(target=beat, name="heartbeat", daemon=True).start()


def beat() -> None:
    """Beat as long as there is a parent; without one, end in good order."""
    while _pipe is not None:
        try:
            os.write(_pipe, b".")
        except BlockingIOError:  # the parent is frozen, and has enough to read
            pass
        except BrokenPipeError:
            os.kill(os.getpid(), signal.SIGTERM)
            return
        time.sleep(INTERVAL_SECONDS)
