"""Statements of migrations that need an exclusive lock of a table in use."""

import time

from django.db import OperationalError
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.transaction import atomic
from psycopg.errors import DeadlockDetected, LockNotAvailable

# Everybody else queues behind a statement that waits for its lock: it gives up and is retried.
LOCK_TIMEOUT = "200ms"
TRIES = 600
PAUSE_SECONDS = 0.3


def run_when_unlocked(editor: BaseDatabaseSchemaEditor, statements: str) -> None:
    """Run statements in a transaction of their own, without a long wait for their lock."""
    for tries_left in reversed(range(TRIES)):
        try:
            with atomic(editor.connection.alias), editor.connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                cursor.execute(statements)
                return
        except OperationalError as error:
            in_use = isinstance(error.__cause__, LockNotAvailable | DeadlockDetected)
            if not in_use or not tries_left:
                raise
        time.sleep(PAUSE_SECONDS)
