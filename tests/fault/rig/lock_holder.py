"""Holds a lock on a connection as one of ours makes it, for as long as it may.

    python -m tests.fault.rig.lock_holder command|crud|import|indexer|worker NUMBER

Says "locked" once it has the advisory lock of that number: in a transaction, as an edit locks rows,
or for its session, as imports and `migrate` do. Then it sends the first message of a
statement: PostgreSQL waits for those that follow, and no longer counts the session as idle.
"""

import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

LONGER_THAN_ANY_TEST_SECONDS = 120
PARSE = b"P\x00\x00\x00\x10\x00SELECT 1\x00\x00\x00"


def connect(who: str) -> Any:
    """A connection of a command, of the API, of an import, of the indexer or of the persister."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")
    import django

    django.setup()
    from crud_service.persist import drain
    from crud_service.postgresql import IMPORTER, INDEXER
    from crud_service.stores import database
    from crud_service.worker.child import harden_database

    if who == "worker":
        harden_database()
    ways: dict[str, Callable[[], Any]] = {
        "command": drain.open_connection,
        "crud": database.connect,
        "import": partial(database.connect_as, IMPORTER),
        "indexer": partial(database.connect_as, INDEXER),
        "worker": drain.open_connection,
    }
    return ways[who]()


if __name__ == "__main__":
    connection = connect(sys.argv[1])
    of_session = sys.argv[1] in {"command", "import"}
    function = "pg_advisory_lock" if of_session else "pg_advisory_xact_lock"
    with nullcontext() if of_session else connection.transaction():
        connection.execute(f"SELECT {function}(%s)", (int(sys.argv[2]),))
        os.write(connection.fileno(), PARSE)
        sys.stdout.write("locked\n")
        sys.stdout.flush()
        time.sleep(LONGER_THAN_ANY_TEST_SECONDS)
