"""Holds a lock in a transaction, on a connection as one of ours makes it, for as long as it may.

    python -m tests.fault.rig.lock_holder crud|indexer|worker NUMBER

Says "locked" once it has the advisory lock of that number.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

LONGER_THAN_ANY_TEST_SECONDS = 120


def connect(who: str) -> Any:
    """A connection of the API, of the indexer or of the persister."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "crud_service.settings")
    import django

    django.setup()
    from crud_service.persist import drain
    from crud_service.postgresql import INDEXER
    from crud_service.stores import database
    from crud_service.worker.child import harden_database

    if who == "worker":
        harden_database()
    ways: dict[str, Callable[[], Any]] = {
        "crud": database.connect,
        "indexer": partial(database.connect_as, INDEXER),
        "worker": drain.open_connection,
    }
    return ways[who]()


if __name__ == "__main__":
    connection = connect(sys.argv[1])
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (int(sys.argv[2]),))
        sys.stdout.write("locked\n")
        sys.stdout.flush()
        time.sleep(LONGER_THAN_ANY_TEST_SECONDS)
