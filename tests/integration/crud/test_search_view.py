"""Parameters of a search, and links of its pages; its results are tested elsewhere."""

from typing import Any

import httpx
import psycopg
import pytest

from tests.integration.crud_rows import Database, add_chat_of


@pytest.fixture
def search(database: Database, application: str, clean_crud: dict[str, str]) -> str:
    """A chat of five messages, ready to be searched."""
    from crud_service.search.feed.outbox import index_batch

    chat = add_chat_of(database, application, 5, "Ruby on Rails & <b>")
    with psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as connection:
        while index_batch(connection, hand_on=False):
            pass
    return f"{chat}/messages/search"


def numbers(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [item["number"] for item in answer.json()]


@pytest.mark.parametrize("slash", ["", "/"])
def test_the_newest_of_equal_matches_comes_first(
    http: httpx.Client, search: str, slash: str
) -> None:
    answer = http.get(f"{search}{slash}", params={"keyword": "ails"})
    assert numbers(answer) == [5, 4, 3, 2, 1]
    assert list(answer.json()[0]) == ["number", "body", "created_at", "updated_at"]
    assert answer.headers["X-Search-Backend"] in {"elasticsearch", "postgresql"}


@pytest.mark.parametrize(
    "request_with",
    [
        {"data": {"keyword": "ruby"}},
        {"files": {"keyword": (None, "ruby")}},
        {"json": {"keyword": "ruby", "limit": 5, "highlight": False}},
        {"params": {"keyword": "ruby"}},
    ],
)
def test_the_keyword_is_read_from_a_body_too(
    http: httpx.Client, search: str, request_with: dict[str, Any]
) -> None:
    assert len(numbers(http.request("GET", search, **request_with))) == 5


def test_pages_follow_by_their_links_and_lose_nothing(http: httpx.Client, search: str) -> None:
    for sort, expected in (("relevance", [5, 4, 3, 2, 1]), ("number", [1, 2, 3, 4, 5])):
        url = f"{search}?keyword=on+RAILS&limit=2&sort={sort}&highlight=true"
        found = []
        while url:
            answer = http.get(url)
            found += numbers(answer)
            assert "<em>Rails</em> &amp; &lt;b&gt;" in answer.json()[0]["highlight"]
            url = answer.links.get("next", {}).get("url", "")
        assert found == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "keyword"),
        ("keyword=", "keyword"),
        ("keyword=%20%09", "keyword"),
        (f"keyword={'x' * 257}", "keyword"),
        ("keyword=a%00b", "keyword"),
        ("keyword=x&limit=0", "limit"),
        ("keyword=x&limit=1001", "limit"),
        ("keyword=x&sort=best", "sort"),
        ("keyword=x&highlight=yes", "highlight"),
        ("keyword=x&cursor=made+up", "cursor"),
    ],
)
def test_a_wrong_value_is_422_and_named(
    http: httpx.Client, search: str, query: str, field: str
) -> None:
    answer = http.get(f"{search}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    "fields", [{"keyword": 1}, {"keyword": None}, {"keyword": "x", "limit": "a"}]
)
def test_a_wrong_type_in_json_is_422(
    http: httpx.Client, search: str, fields: dict[str, Any]
) -> None:
    assert http.request("GET", search, json=fields).status_code == 422


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("keyword", "Must be a string."),
        ("limit", "Must be a whole number from 1 to 1000."),
        ("sort", "Must be one of relevance, number, -number."),
        ("highlight", "Must be true or false."),
    ],
)
def test_null_is_422_with_what_the_field_takes(
    http: httpx.Client, search: str, field: str, message: str
) -> None:
    answer = http.request("GET", search, json={"keyword": "ruby", field: None})
    assert answer.json()["errors"] == [{"field": field, "message": message}]


def test_searching_a_missing_chat_is_404(http: httpx.Client, application: str) -> None:
    answer = http.get(f"{application}/chats/9/messages/search?keyword=x")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
