"""How PostgreSQL finds what a batch names, when it knows little about the tables."""

from collections.abc import Iterator

import psycopg
import pytest

from crud_service.persist import store_sql
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
