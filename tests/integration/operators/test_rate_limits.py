"""An application's own rate limit: set in the admin, copied to Redis, compared with the copy."""

import re
from collections.abc import Iterator
from typing import Any, cast

import httpx
import pytest
import redis

from contract import keys
from tests.integration.crud_rows import Database, token_of
from tests.integration.operators.test_admin import change_beside, form_of, operator

__all__ = ["operator"]

PAGE = "/admin/chat/application/{}/change/"


@pytest.fixture
def valkey_client(clean_crud: dict[str, str]) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(clean_crud["REDIS_URL"]) as client:
        yield client


@pytest.fixture
def page(database: Database, application: str) -> str:
    row = database.execute("SELECT id FROM applications").fetchone()
    assert row
    return PAGE.format(row[0])


def fields_of(page: httpx.Response) -> dict[str, str]:
    numbers = dict(re.findall(r'type="number" name="(\w+)"(?: value="(\d+)")?', page.text))
    return form_of(page) | numbers


def save(operator: httpx.Client, page: str, rate: str, burst: str) -> httpx.Response:
    fields = fields_of(operator.get(page)) | {"rate_limit": rate, "rate_burst": burst}
    return operator.post(page, data=fields)


def limit_in(client: redis.Redis, application: str) -> bytes | None:
    return client.hget(keys.LIMITS, token_of(application))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("rate", "burst", "copied"),
    [("10", "25", b"10 25"), ("10", "", b"10 10"), ("0", "", b"0 1"), ("", "", None)],
)
def test_a_limit_set_here_is_copied_with_it(
    operator: httpx.Client,
    valkey_client: redis.Redis,
    application: str,
    page: str,
    rate: str,
    burst: str,
    copied: bytes | None,
) -> None:
    before = operator.get(application)
    assert save(operator, page, "7", "").status_code == 302
    assert limit_in(valkey_client, application) == b"7 7"
    assert save(operator, page, rate, burst).status_code == 302
    assert limit_in(valkey_client, application) == copied
    # It is no part of the resource, which has not changed.
    assert operator.get(application).content == before.content


@pytest.mark.parametrize(
    ("rate", "burst", "reason"),
    [
        ("-1", "", "greater than or equal to 0"),
        ("1000001", "", "less than or equal to 1000000"),
        ("10", "0", "greater than or equal to 1"),
        ("", "5", "A burst needs a rate limit."),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(
    operator: httpx.Client,
    valkey_client: redis.Redis,
    application: str,
    page: str,
    rate: str,
    burst: str,
    reason: str,
) -> None:
    answer = save(operator, page, rate, burst)
    assert answer.status_code == 200
    assert reason in answer.text
    assert limit_in(valkey_client, application) is None


def test_a_limit_that_somebody_else_changed_meanwhile_is_kept(
    operator: httpx.Client, valkey_client: redis.Redis, application: str, page: str
) -> None:
    early = fields_of(operator.get(page))
    assert save(operator, page, "10", "").status_code == 302
    answer = operator.post(page, data=early | {"name": "late"})
    assert "Someone else changed this" in answer.text
    assert limit_in(valkey_client, application) == b"10 10"
    assert operator.get(application).json()["name"] != "late"


def test_a_limit_that_somebody_else_changes_after_the_check_of_the_form_is_kept(
    operator: httpx.Client, database: Database, application: str, page: str
) -> None:
    newer = "UPDATE applications SET rate_limit = 10"
    late = fields_of(operator.get(page)) | {"name": "late", "rate_limit": "20"}
    answer = change_beside(operator, database, newer, page, late)
    assert "Someone else changed this" in answer.text
    assert database.execute("SELECT rate_limit, name FROM applications").fetchall() == [
        (10, "An application")
    ]


def test_an_older_state_of_the_table_replaces_no_newer_copy(valkey_client: redis.Redis) -> None:
    from crud_service.chat.own_limits import replace

    valkey_client.hset(keys.LIMITS, mapping={"A": "new", "B": "old"})
    seen = {"A": "old", "B": "old", "C": "gone"}
    assert replace(valkey_client, keys.LIMITS, seen, {"A": "stale", "B": "next", "C": "stale"}) == 1
    assert valkey_client.hgetall(keys.LIMITS) == {b"A": b"new", b"B": b"next"}


def test_more_limits_than_fit_into_one_call_are_compared(
    database: Database, valkey_client: redis.Redis
) -> None:
    from crud_service.chat.own_limits import synchronise_limits

    database.execute(
        "INSERT INTO applications (access_token, name, rate_limit)"
        " SELECT lpad(i::text, 24, '0'), 'x', i FROM generate_series(1, 1201) i"
    )
    valkey_client.hset(keys.LIMITS, "left over", "1 1")
    assert synchronise_limits(database, valkey_client) == 1202
    assert valkey_client.hlen(keys.LIMITS) == 1201
    assert synchronise_limits(database, valkey_client) == 0


def test_what_redis_loses_while_it_is_compared_is_repaired(
    database: Database, valkey_client: redis.Redis
) -> None:
    from crud_service.chat.own_limits import synchronise_limits

    class Losing:
        """A connection during whose statements Redis loses everything."""

        def execute(self, *statement: Any) -> Any:
            valkey_client.flushdb()
            return database.execute(*statement)

    database.execute(
        "INSERT INTO applications (access_token, name, rate_limit) VALUES (%s, 'x', 7)", ("A" * 24,)
    )
    assert synchronise_limits(database, valkey_client) == 1
    valkey_client.delete(keys.LIMITS_SYNCHRONISED)
    synchronise_limits(cast("Database", Losing()), valkey_client)
    synchronise_limits(database, valkey_client)
    assert valkey_client.hvals(keys.LIMITS) == [b"7 7"]
