"""Lists: complete without parameters, otherwise pages without gaps or repeats."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.integration.crud_rows import Database, add_chat_of, add_chats
from web.problems import NotFound


@pytest.fixture
def messages(database: Database, application: str) -> str:
    return f"{add_chat_of(database, application, 25)}/messages"


def numbers(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [item["number"] for item in answer.json()]


def walk(http: httpx.Client, url: str, rel: str) -> list[list[int]]:
    """Return the numbers of each page, following the links from one on."""
    pages = []
    while True:
        answer = http.get(url)
        pages.append(numbers(answer))
        if rel not in answer.links:
            return pages
        url = answer.links[rel]["url"]


def test_without_parameters_a_list_is_complete_and_in_order(
    http: httpx.Client, messages: str
) -> None:
    answer = http.get(messages)
    assert numbers(answer) == list(range(1, 26))
    assert answer.headers["X-Total-Count"] == "25"
    assert "Link" not in answer.headers


def test_an_empty_list_is_an_empty_array(http: httpx.Client, application: str) -> None:
    answer = http.get(f"{application}/chats")
    assert (answer.status_code, answer.content) == (200, b"[]")
    assert answer.headers["X-Total-Count"] == "0"


def test_items_of_a_list_have_the_shape_of_the_single_resource(
    http: httpx.Client, messages: str, application: str
) -> None:
    assert http.get(messages).json()[4] == http.get(f"{messages}/5").json()
    assert http.get(f"{messages}?limit=1").content == b"[%s]" % http.get(f"{messages}/1").content
    assert http.get(f"{application}/chats").json() == [http.get(f"{application}/chats/1").json()]
    assert http.get("/applications").json() == [http.get(application).json()]


def test_next_links_lead_through_everything_once(http: httpx.Client, messages: str) -> None:
    pages = walk(http, f"{messages}?limit=10", "next")
    assert pages == [list(range(1, 11)), list(range(11, 21)), list(range(21, 26))]
    assert walk(http, f"{messages}?limit=10&order=desc", "next") == [
        list(range(25, 15, -1)),
        list(range(15, 5, -1)),
        list(range(5, 0, -1)),
    ]


def test_prev_links_lead_back_through_the_same_pages(http: httpx.Client, messages: str) -> None:
    assert walk(http, f"{messages}?limit=10&after=20", "prev") == [
        list(range(21, 26)),
        list(range(11, 21)),
        list(range(1, 11)),
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("after=5&before=8", [6, 7]),
        ("after=5&before=8&order=desc", [7, 6]),
        ("limit=3&before=20", [17, 18, 19]),
        ("limit=3&before=20&order=desc", [19, 18, 17]),
        ("limit=3&after=20&order=desc", [23, 22, 21]),
        ("limit=3&after=2&before=9", [3, 4, 5]),
        ("limit=3&after=2&before=9&order=desc", [8, 7, 6]),
        ("after=25", []),
        ("before=1", []),
        ("after=9223372036854775807", []),
        ("before=9223372036854775807&limit=1", [25]),
        ("after=0&limit=1", [1]),
        ("order=desc&limit=1", [25]),
        ("limit=1000", list(range(1, 26))),
    ],
)
def test_a_page_contains_what_was_requested(
    http: httpx.Client, messages: str, query: str, expected: list[int]
) -> None:
    answer = http.get(f"{messages}?{query}")
    assert numbers(answer) == expected
    assert answer.headers["X-Total-Count"] == "25"


def test_paging_between_two_bounds_stays_there(http: httpx.Client, messages: str) -> None:
    assert walk(http, f"{messages}?limit=2&after=5&before=11", "next") == [[6, 7], [8, 9], [10]]
    pages = walk(http, f"{messages}?limit=2&after=5&before=11&order=desc", "next")
    assert pages == [[10, 9], [8, 7], [6]]


def test_pages_skip_numbers_that_are_missing(
    http: httpx.Client, database: Database, messages: str
) -> None:
    database.execute("DELETE FROM messages WHERE number IN (2, 3, 4)")
    assert walk(http, f"{messages}?limit=2&before=8", "prev") == [[6, 7], [1, 5]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=x", "after=-1", "before=x", "order=up", "limit=", "after=%00"]
)
def test_a_wrong_value_is_422_and_named(http: httpx.Client, messages: str, query: str) -> None:
    answer = http.get(f"{messages}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


def test_a_query_string_that_is_not_utf8_is_400(http: httpx.Client, messages: str) -> None:
    assert http.get(f"{messages}?limit=%FF").json()["code"] == "malformed_body"


def test_chats_have_pages_as_well(http: httpx.Client, database: Database, application: str) -> None:
    add_chats(database, application, 5)
    answer = http.get(f"{application}/chats?limit=2&after=1")
    assert numbers(answer) == [2, 3]
    assert answer.headers["X-Total-Count"] == "5"


def test_applications_are_listed_oldest_first_and_paged_by_token(http: httpx.Client) -> None:
    tokens = [
        http.post("/applications", json={"name": str(n)}).json()["access_token"] for n in range(5)
    ]

    def shown(url: str) -> list[Any]:
        answer = http.get(url)
        assert answer.headers["X-Total-Count"] == "5"
        return [item["access_token"] for item in answer.json()]

    assert shown("/applications") == tokens
    assert shown(f"/applications?after={tokens[1]}&limit=2") == tokens[2:4]
    assert shown(f"/applications?before={tokens[3]}&limit=2") == tokens[1:3]
    assert shown("/applications?order=desc&limit=1") == tokens[4:]
    following = http.get("/applications?limit=2").links["next"]["url"]
    assert re.search(f"after={tokens[1]}$", following)
    assert shown(following) == tokens[2:4]


@pytest.mark.parametrize("change", ["rotate", "rotate, delete", "delete", "delete, erase"])
def test_a_walk_goes_on_from_an_application_that_was_rotated_or_deleted(
    http: httpx.Client, erase: Callable[[], None], change: str
) -> None:
    tokens = [
        http.post("/applications", json={"name": str(n)}).json()["access_token"] for n in range(5)
    ]
    seen = f"/applications/{tokens[2]}"
    if "rotate" in change:
        answer = http.post(f"{seen}/rotate", headers={"Idempotency-Key": "once"})
        seen = f"/applications/{answer.json()['access_token']}"
    if "delete" in change:
        assert http.delete(seen).status_code == 202
    if "erase" in change:
        erase()
    for bound, following in (("after", tokens[3:]), ("before", tokens[:2])):
        answer = http.get(f"/applications?{bound}={tokens[2]}")
        assert answer.status_code == 200, answer.text
        assert [item["access_token"] for item in answer.json()] == following


def test_a_token_of_no_application_is_422(http: httpx.Client, application: str) -> None:
    for field in ("after", "before"):
        answer = http.get(f"/applications?{field}={'x' * 24}")
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_the_total_of_applications_follows_every_change(
    http: httpx.Client, database: Database, application: str
) -> None:
    insert = "INSERT INTO applications (access_token, name) SELECT 'token' || n, 'x' FROM "
    database.execute(f"{insert} generate_series(1, 10) n")
    assert http.get("/applications").headers["X-Total-Count"] == "11"
    database.execute("DELETE FROM applications WHERE access_token LIKE 'token%'")
    assert http.get("/applications").headers["X-Total-Count"] == "1"
    database.execute("TRUNCATE applications CASCADE")
    assert http.get("/applications").headers["X-Total-Count"] == "0"


def test_a_list_of_several_chunks_is_complete(
    http: httpx.Client, database: Database, application: str
) -> None:
    """Chunks end after 1,000 rows or 256 KiB, so both limits are met here."""
    chat = add_chat_of(database, application, 2500)
    database.execute(
        "UPDATE messages SET body = repeat('x', 60000) WHERE number BETWEEN 1100 AND 1120"
    )
    answer = http.get(f"{chat}/messages")
    assert numbers(answer) == list(range(1, 2501))
    assert answer.headers["X-Total-Count"] == "2500"


@pytest.mark.parametrize("ends", ["rotated", "deleted"])
def test_a_page_whose_application_disappears_does_not_look_complete(
    http: httpx.Client, database: Database, application: str, ends: str
) -> None:
    """It ends without its bracket, and its client is disconnected."""
    chat = add_chat_of(database, application, 40, "x" * 60_000)
    with http.stream("GET", f"{chat}/messages?limit=40") as answer:
        received = answer.iter_raw()
        next(received)
        if ends == "rotated":
            http.post(f"{application}/rotate", headers={"Idempotency-Key": "once"})
        else:
            http.delete(application)
        with pytest.raises(NotFound):
            list(received)


def test_every_application_of_thousands_is_listed(http: httpx.Client, database: Database) -> None:
    insert = "INSERT INTO applications (access_token, name) "
    database.execute(f"{insert} SELECT lpad(n::text, 24, 'T'), 'x' FROM generate_series(1, 2100) n")
    assert len({item["access_token"] for item in http.get("/applications").json()}) == 2100
