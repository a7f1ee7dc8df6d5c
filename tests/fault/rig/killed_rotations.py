"""Begins rotations and kills them: a program.

It reads lines of an access token, an idempotency key and seconds, begins the rotation as
crud_service does, in a process of its own, kills that after so many seconds, and prints a line.
"""

import os
import signal
import sys
import time
from contextlib import suppress

import django


def rotate_once(access_token: str, key: str) -> None:
    from crud_service.api.rotation.rotating import rotate
    from web.problems import Problem

    with suppress(Problem):
        rotate(access_token, key)
    os._exit(0)


def main() -> None:
    django.setup()
    import crud_service.api.rotation.rotating  # noqa: F401 - so that the children need not

    for line in sys.stdin:
        access_token, key, seconds = line.split()
        child = os.fork()
        if not child:
            rotate_once(access_token, key)
        time.sleep(float(seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        sys.stdout.write("killed\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
