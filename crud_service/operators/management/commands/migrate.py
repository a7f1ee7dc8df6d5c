"""`python -m crud_service.manage migrate`: Django's, but one process at a time, and repeatable."""

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from django.core.management.commands import migrate
from django.db import connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration

from crud_service.operators.system_checks import COMMAND_CHECKS
from crud_service.stores.advisory_locks import lock
from crud_service.stores.database import Connection

LOOK_SECONDS = 0.5
MIGRATING_LOCK = 0x4D494752
WAITING = "another `migrate` is running: waiting for its end"


class RepeatableExecutor(MigrationExecutor):
    """Records a migration in the transaction that applies it, or reverses it.

    Django does so after the commit if tables have foreign keys. Killed in between, it would apply
    the migration again from then on, and fail at the tables that exist.
    """

    def apply_migration(self, state: Any, migration: Migration, *args: Any, **options: Any) -> Any:
        with self._in_one_transaction(migration):
            return super().apply_migration(state, migration, *args, **options)

    def unapply_migration(
        self, state: Any, migration: Migration, *args: Any, **options: Any
    ) -> Any:
        with self._in_one_transaction(migration):
            return super().unapply_migration(state, migration, *args, **options)

    def _in_one_transaction(self, migration: Migration) -> AbstractContextManager[object]:
        return transaction.atomic(self.connection.alias) if migration.atomic else nullcontext()


# Django's command looks it up in its module.
migrate.MigrationExecutor = RepeatableExecutor  # type: ignore[attr-defined]  # not in the stubs


class Command(migrate.Command):
    requires_system_checks = COMMAND_CHECKS

    def handle(self, *args: Any, **options: Any) -> None:
        if options["check_unapplied"] or options["plan"]:  # they change nothing
            super().handle(*args, **options)
            return
        connection = connections[options["database"]]
        connection.ensure_connection()
        with one_at_a_time(connection.connection):
            super().handle(*args, **options)


@contextmanager
def one_at_a_time(connection: Connection) -> Iterator[None]:
    """Wait until no other process migrates, and have others wait for the block.

    Django plans first, by what has been applied so far: a second process would repeat a migration
    that the first one applies meanwhile. Asks again and again instead of waiting in PostgreSQL: a
    statement that waits holds a snapshot, and CREATE INDEX CONCURRENTLY waits for its end.
    """
    is_announced = False
    while True:
        with lock(connection, MIGRATING_LOCK) as ours:
            if ours:
                yield
                return
        if not is_announced:
            print(WAITING, file=sys.stderr, flush=True)  # noqa: T201 - a command
            is_announced = True
        time.sleep(LOOK_SECONDS)
