"""How PostgreSQL finds what a batch names, when it knows little about the tables."""

from collections.abc import Iterator
from itertools import count, islice

import psycopg
import pytest

from contract.entries import Entry
from crud_service.persist import store_sql
from crud_service.postgresql import PERSISTER
from tests.integration.accepting import TOKEN, make_application
from tests.integration.crud_rows import Database
from tests.integration.plans import blocks_touched, explain

WANTED = 64


@pytest.fixture
def database(clean_crud: dict[str, str]) -> Iterator[Database]:
    """A database that was last looked at when every application had one chat."""
    with psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as connection:
        connection.execute(
            "INSERT INTO applications (access_token, name) SELECT lpad(n::text, 24, '0'), 'x'"
            " FROM generate_series(1, 200) AS n"
        )
        connection.execute(
            "INSERT INTO chats (application_id, number) SELECT id, 1 FROM applications"
        )
        connection.execute("ANALYZE applications, chats")
        yield connection


def test_the_chats_of_a_batch_are_found_by_their_numbers(database: Database) -> None:
    """One by one, and not among all that their application has."""
    token = f"{1:024}"
    database.execute(
        "INSERT INTO chats (application_id, number) SELECT id, number"
        " FROM applications, generate_series(2, 5000) AS number WHERE access_token = %s",
        (token,),
    )
    parameters = {"tokens": [token] * WANTED, "numbers": list(range(4900, 4900 + WANTED))}
    # Literals have no binary format.
    sql = store_sql.FIND_CHATS.replace(")b::", ")s::")
    plan = explain(database, sql, parameters)
    assert plan["Actual Rows"] == WANTED
    assert blocks_touched(plan) < 10 * WANTED


def test_batches_of_any_size_are_not_planned_again(clean_crud: dict[str, str]) -> None:
    from crud_service.persist.store import store

    make_application(clean_crud["DATABASE_URL"])
    url = clean_crud["DATABASE_URL"]
    entries = (Entry(f"{n}-0", TOKEN, 1, n, "a text", "") for n in count(1000))
    sizes = [1] * 10 + [500] + [1] * 10
    with psycopg.connect(url, autocommit=True, **PERSISTER) as connection:
        for size in sizes:
            store(connection, list(islice(entries, size)))
        plans = "SELECT custom_plans FROM pg_prepared_statements WHERE generic_plans > 10"
        planned = connection.execute(plans).fetchall()
    # PostgreSQL plans a statement five times for its values before it considers one plan for all.
    assert planned == [(5,), (5,)]
