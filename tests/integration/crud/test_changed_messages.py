"""What changed in a chat: `changed_after`, and `X-Last-Change` on every list of messages."""

import re

import httpx
import pytest

from tests.integration.crud_rows import Database, add_chat_of, add_chats


@pytest.fixture
def messages(database: Database, application: str) -> str:
    """Twelve messages, five of them changed: 3, 9, 1, 7, 5, in this order."""
    path = f"{add_chat_of(database, application, 12)}/messages"
    for number in (3, 9, 1, 7, 5):
        edit(database, number, f"edited {number}")
    return path


def edit(database: Database, number: int, body: str) -> None:
    database.execute("UPDATE messages SET body = %s WHERE number = %s", (body, number))


def numbers(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [message["number"] for message in answer.json()]


@pytest.mark.parametrize(
    "query",
    ["", "?limit=2", "?after=12", "?order=desc&limit=1", "?before=4&after=2", "?wait=0&after=3"],
)
def test_every_list_of_messages_names_the_last_change(
    http: httpx.Client, messages: str, query: str
) -> None:
    for method in ("GET", "HEAD"):
        assert http.request(method, f"{messages}{query}").headers["X-Last-Change"] == "5"


def test_no_other_list_does(http: httpx.Client, messages: str, application: str) -> None:
    for path in ("/applications", f"{application}/chats", f"{messages}/search?keyword=edited"):
        assert "X-Last-Change" not in http.get(path).headers


def test_a_chat_without_changes_has_0(
    http: httpx.Client, database: Database, application: str
) -> None:
    add_chats(database, application, 1)
    answer = http.get(f"{application}/chats/1/messages")
    assert (answer.content, answer.headers["X-Last-Change"]) == (b"[]", "0")


def test_changed_messages_come_in_the_order_of_their_last_change(
    http: httpx.Client, database: Database, messages: str
) -> None:
    answer = http.get(f"{messages}?changed_after=0")
    assert numbers(answer) == [3, 9, 1, 7, 5]
    assert answer.json()[1] == http.get(f"{messages}/9").json()
    assert answer.headers["X-Total-Count"] == "12"
    assert "Link" not in answer.headers
    edit(database, 9, "edited again")
    answer = http.get(f"{messages}?changed_after=3")
    assert numbers(answer) == [7, 5, 9]
    assert answer.headers["X-Last-Change"] == "6"


@pytest.mark.parametrize("change", [5, 6, 9223372036854775807])
def test_nothing_new_is_an_empty_list(http: httpx.Client, messages: str, change: int) -> None:
    answer = http.get(f"{messages}?changed_after={change}")
    assert (answer.content, answer.headers["X-Last-Change"]) == (b"[]", "5")


def test_pages_lead_through_all_changes(http: httpx.Client, messages: str) -> None:
    answer = http.get(f"{messages}?changed_after=0&limit=2")
    assert numbers(answer) == [3, 9]
    assert answer.headers["X-Last-Change"] == "2"
    assert re.search(r"\?limit=2&changed_after=2>; rel=\"next\"$", answer.headers["Link"])
    answer = http.get(answer.links["next"]["url"])
    assert (numbers(answer), answer.headers["X-Last-Change"]) == ([1, 7], "4")
    answer = http.get(answer.links["next"]["url"])
    assert (numbers(answer), answer.headers["X-Last-Change"]) == ([5], "5")
    assert "Link" not in answer.headers


@pytest.mark.parametrize("limit", ["", "&limit=1", "&limit=2", "&limit=3"])
def test_a_client_that_continues_from_the_last_change_has_every_text(
    http: httpx.Client, database: Database, messages: str, limit: str
) -> None:
    """Messages change between its requests, among them some that it has or that come next."""
    known: dict[int, str] = {}
    last = "0"
    for step in range(12):
        answer = http.get(f"{messages}?changed_after={last}{limit}")
        known |= {message["number"]: message["body"] for message in answer.json()}
        last = answer.headers["X-Last-Change"]
        if step < 4:
            edit(database, (3, 1, 7, 12)[step], f"edited in step {step}")
    expected = database.execute("SELECT number, body FROM messages WHERE change > 0").fetchall()
    assert known == dict(expected)


def test_all_changes_of_a_long_chat_are_streamed(
    http: httpx.Client, database: Database, application: str
) -> None:
    """Chunks end after 1,000 rows or 256 KiB, so both limits are met here."""
    chat = add_chat_of(database, application, 2500)
    database.execute(
        "UPDATE messages SET body = repeat('x', CASE WHEN number < 20 THEN 60000 ELSE 9 END)"
    )
    answer = http.get(f"{chat}/messages?changed_after=10")
    changed = "SELECT number FROM messages WHERE change > 10 ORDER BY change"
    assert numbers(answer) == [number for (number,) in database.execute(changed).fetchall()]
    assert answer.headers["X-Last-Change"] == "2500"


def test_a_long_page_of_changes_is_sent_in_pieces(
    http: httpx.Client, database: Database, application: str
) -> None:
    chat = add_chat_of(database, application, 40)
    database.execute("UPDATE messages SET body = repeat('x', 60000)")
    answer = http.get(f"{chat}/messages?changed_after=1&limit=30")
    changed = "SELECT number FROM messages WHERE change BETWEEN 2 AND 31 ORDER BY change"
    assert numbers(answer) == [number for (number,) in database.execute(changed).fetchall()]
    assert answer.headers["X-Last-Change"] == "31"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("changed_after=x", "changed_after"),
        ("changed_after=1&after=1", "changed_after"),
        ("changed_after=1&limit=0", "limit"),
        ("wait=x", "wait"),
        ("wait=1&order=desc", "wait"),
    ],
)
def test_a_wrong_value_is_422_and_named(
    http: httpx.Client, messages: str, query: str, field: str
) -> None:
    answer = http.get(f"{messages}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["field"] == field
