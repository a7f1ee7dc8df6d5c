"""Imports a file again and again, and kills it: a program (`tests.killing`).

Small pieces make many instants to be killed at.
"""

from io import StringIO

import django

from tests.killing import fork_and_kill


def import_once(path: str) -> None:
    from django.core.management import call_command

    call_command("import_application", path, stdout=StringIO())


if __name__ == "__main__":
    django.setup()
    from crud_service.transfer import importing

    importing.PIECE_ROWS = 50
    importing.LAST_MESSAGES_AT_ONCE = 3
    fork_and_kill(import_once)
