"""Imports a file again and again, each time in a process of its own that is killed: a program.

It reads seconds, a line each, and prints a line after each kill. Forking saves the seconds that
a new interpreter takes to start. Small pieces make many instants to be killed at.
"""

import os
import signal
import sys
import time
from io import StringIO

import django


def import_once(path: str) -> None:
    from django.core.management import call_command

    try:
        call_command("import_application", path, stdout=StringIO())
    finally:
        os._exit(0)


def main() -> None:
    django.setup()
    from crud_service.transfer import importing

    importing.PIECE_ROWS = 50
    importing.LAST_MESSAGES_AT_ONCE = 3
    for line in sys.stdin:
        child = os.fork()
        if not child:
            import_once(sys.argv[1])
        time.sleep(float(line))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        sys.stdout.write("killed\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
