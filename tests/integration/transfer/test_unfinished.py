"""What a killed import has left behind is removed, and what another one is writing is not."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx

from tests.integration.crud_rows import Database
from tests.integration.transfer.carried import rows
from tests.polling import eventually


def test_an_import_that_runs_is_left_alone(http: httpx.Client, database: Database) -> None:
    from crud_service.postgresql import IMPORTER
    from crud_service.stores.database import connect_as
    from crud_service.transfer.unfinished import create_hidden, remove_left_behind

    with connect_as(IMPORTER) as other:
        with connect_as(IMPORTER) as importing:
            hidden = create_hidden(importing)
            importing.execute(
                "INSERT INTO chats (application_id, number) VALUES (%s, 1)", (hidden,)
            )
            assert remove_left_behind(other) == 0
            assert rows(database)["chats"] == [(1,)]
        # The lock ends with the session, soon after the connection.
        assert eventually(lambda: remove_left_behind(other), bool, 10) == 1
    assert set(map(str, rows(database).values())) == {"[(0,)]"}


def test_a_removal_that_was_interrupted_goes_on(http: httpx.Client, database: Database) -> None:
    from crud_service.postgresql import IMPORTER
    from crud_service.stores.database import connect_as
    from crud_service.transfer.unfinished import (
        COUNT,
        MARK,
        REQUEST,
        create_hidden,
        remove_left_behind,
    )

    with connect_as(IMPORTER) as importing:
        hidden = create_hidden(importing)
        importing.execute("INSERT INTO chats (application_id, number) VALUES (%s, 1)", (hidden,))
        importing.execute(MARK, (hidden,))
        importing.execute(COUNT, (1,))
        importing.execute(REQUEST, (hidden,))
    with connect_as(IMPORTER) as other:
        assert eventually(lambda: remove_left_behind(other), bool, 10) == 1
    assert set(map(str, rows(database).values())) == {"[(0,)]"}
    assert database.execute("SELECT count(*) FROM deletions").fetchall() == [(0,)]


def test_the_worker_removes_what_was_left_behind(
    http: httpx.Client, database: Database, tmp_path: Path
) -> None:
    from crud_service.postgresql import CHORES, IMPORTER
    from crud_service.stores.database import connect_as
    from crud_service.transfer.unfinished import create_hidden, remove_left_behind
    from crud_service.worker import chores

    with connect_as(IMPORTER) as importing:
        create_hidden(importing)
    (chore,) = [chore for chore in chores.CHORES if chore.work is remove_left_behind]
    with connect_as(CHORES) as connection:
        assert connection.info.parameter_status("application_name") == "chores"
        chore.work(connection)
    assert rows(database)["applications"] == [(0,)]


def test_a_removal_waits_for_the_eraser_without_haste(
    http: httpx.Client, database: Database, clean_crud: dict[str, str]
) -> None:
    from crud_service.postgresql import IMPORTER
    from crud_service.stores.database import connect_as
    from crud_service.transfer.unfinished import MARK, REQUEST, create_hidden, remove_hidden

    batches: list[int] = []
    with connect_as(IMPORTER) as importing, connect_as(IMPORTER) as eraser:
        hidden = create_hidden(importing)
        importing.execute("INSERT INTO chats (application_id, number) VALUES (%s, 1)", (hidden,))
        importing.execute(MARK, (hidden,))
        importing.execute(REQUEST, (hidden,))
        remove = partial(remove_hidden, importing, hidden, batches.append)
        with ThreadPoolExecutor() as threads:
            with eraser.transaction():
                eraser.execute("SELECT FROM deletions FOR UPDATE")
                removal = threads.submit(remove)
                time.sleep(1)
            assert removal.result(10)
    assert 1 < len(batches) < 120
