"""Django's command line: `python -m crud_service.manage <command>`.

Run it as a module, not as a file: a file's own folder comes first on the
import path, where our modules could shadow installed ones of the same name.
"""

import os
import signal
import sys

from web.process_signals import end_on_ctrl_c

end_on_ctrl_c()

import psycopg
from django.core.management import execute_from_command_line
from django.db.utils import Error as WrappedError
from psycopg.errors import UndefinedColumn, UndefinedTable
from redis.exceptions import RedisError, ResponseError

from crud_service.operators.interruption import InterruptedCommand
from web.problems import StoreUnavailable

# Differs from 1, by which `check_index` says that it found differences, and `requeue` that some
# entries could not be stored.
STORE_FAILED = 2
# InternalError: for example, a write to a standby.
FAILURES = (
    *(psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError),
    *(UndefinedTable, UndefinedColumn, RedisError, StoreUnavailable),
)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")
    # From here on, a command has the time to undo what it has begun.
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    except (WrappedError, psycopg.Error, RedisError, StoreUnavailable) as error:
        is_wrapper = isinstance(error, (WrappedError, StoreUnavailable))
        failure = (is_wrapper and error.__cause__) or error
        if not isinstance(failure, FAILURES):
            raise
        print(f"crud_service.manage: {explain(failure)}", file=sys.stderr)  # noqa: T201 - a command
        sys.exit(STORE_FAILED)
    except (KeyboardInterrupt, InterruptedCommand) as error:
        print("crud_service.manage: interrupted; it can be run again", file=sys.stderr)  # noqa: T201 - a command
        sys.exit(error.code if isinstance(error, SystemExit) else 128 + signal.SIGINT)


def run() -> None:
    # `migrate` creates the operators' user with ADMIN_PASSWORD: refuse a default one.
    from crud_service.startup import refuse_to_start

    if refuse_to_start("manage"):
        sys.exit(1)
    execute_from_command_line(sys.argv)


def explain(failure: Exception) -> str:
    """Say in one line which store failed, and how."""
    said = " ".join(str(failure).split())
    if isinstance(failure, ResponseError):
        return f"Redis failed: {said}"
    if isinstance(failure, RedisError):
        return f"Redis cannot be reached: {said}"
    if isinstance(failure, (UndefinedTable, UndefinedColumn)):
        return f"the database is not migrated, run `migrate` first: {failure.diag.message_primary}"
    if getattr(failure, "sqlstate", None) is not None:
        return f"PostgreSQL failed: {said}"
    if "password authentication failed" not in said:
        return f"PostgreSQL cannot be reached: {said}"
    return (
        "PostgreSQL rejects the password of DATABASE_URL. Its data (in containers: the volume"
        " `postgres`) keeps the password with which it was created until it is changed there:"
        " see docs/operations.md, Start and stop."
    )


if __name__ == "__main__":
    main()
