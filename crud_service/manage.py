"""Django's command line: `python -m crud_service.manage <command>`.

Run it as a module, not as a file: a file's own folder comes first on the
import path, where our modules could shadow installed ones of the same name.
"""

import os
import sys

import psycopg
from django.core.management import execute_from_command_line
from django.db.utils import OperationalError


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")
    # `migrate` creates the operators' user with ADMIN_PASSWORD: refuse a default one.
    from crud_service.startup import refuse_to_start

    if refuse_to_start("manage"):
        sys.exit(1)
    try:
        execute_from_command_line(sys.argv)
    except (OperationalError, psycopg.OperationalError) as error:
        if reason := why_not_connected(error):
            sys.exit(f"crud_service.manage: {reason}")
        raise


def why_not_connected(error: OperationalError | psycopg.OperationalError) -> str:
    """Explain a failed connection in one line; empty if the error came after connecting."""
    reported = error if isinstance(error, psycopg.Error) else error.__cause__
    if getattr(reported, "sqlstate", None) is not None:
        return ""
    said = " ".join(str(error).split())
    if "password authentication failed" not in said:
        return f"PostgreSQL cannot be reached: {said}"
    return (
        "PostgreSQL rejects the password of DATABASE_URL. Its data (in containers: the volume"
        " `postgres`) keeps the password with which it was created until it is changed there:"
        " see docs/operations.md, Start and stop."
    )


if __name__ == "__main__":
    main()
