"""`migrate`, for one database after the other in one process: Django takes seconds to start.

Run as a program it reads the name of a database and a version from each line of its input, and
answers with an error, empty if there was none, as JSON.
"""

import io
import json
import os
import sys
import traceback

from local_stack.stack import Stores
from tests.line_program import LineProgram


class Migrator(LineProgram):
    """The program, as a test uses it."""

    def __init__(self, stores: Stores):
        environment = {**stores.environment, "LOCAL_STACK": "1"}
        super().__init__("tests.integration.crud.migrator", environment)

    def migrate(self, url: str, target: str) -> None:
        """Migrate a database of the session's PostgreSQL to a version."""
        error = self.answer_to(f"{url.rpartition('/')[2]} {target}")
        assert not error, error


def serve() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")
    import django
    from django.db import connection

    django.setup()
    for line in sys.stdin:
        name, target = line.split()
        connection.settings_dict["NAME"] = name
        error = migrate(target)
        connection.close()  # or else nobody could copy the database
        sys.stdout.write(json.dumps(error) + "\n")
        sys.stdout.flush()


def migrate(target: str) -> str:
    """Migrate to a version; return the error, if any."""
    from django.core.management import call_command

    try:
        call_command("migrate", "chat", target, interactive=False, stdout=io.StringIO())
    except Exception:
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    serve()
