"""What an inbox shows: chats by their last activity, each with its last message."""

from typing import Any

import httpx
import pytest

from contract.entries import Entry
from tests.integration.crud_rows import Database, add_chats, add_messages, token_of

Json = dict[str, Any]
BY_ACTIVITY = "sort=-last_message"


@pytest.fixture
def chats(database: Database, application: str) -> str:
    """The chats of an application; those with messages were written to last in this order."""
    add_chats(database, application, 7)
    for chat in (2, 6, 1, 5):
        add_messages(database, application, chat, f"in {chat}", chat=chat)
    return f"{application}/chats"


def listed(answer: httpx.Response) -> list[Json]:
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()
    return found


def numbers(answer: httpx.Response) -> list[int]:
    return [chat["number"] for chat in listed(answer)]


def walk(http: httpx.Client, url: str) -> list[list[int]]:
    """Return the numbers of each page, following the links."""
    pages = []
    while True:
        answer = http.get(url)
        pages.append(numbers(answer))
        assert answer.headers["X-Total-Count"] == "7"
        if "next" not in answer.links:
            return pages
        url = answer.links["next"]["url"]


def test_the_chat_written_to_last_comes_first(http: httpx.Client, chats: str) -> None:
    answer = http.get(f"{chats}?{BY_ACTIVITY}")
    assert numbers(answer) == [5, 1, 6, 2, 7, 4, 3]
    assert answer.json()[0] == http.get(f"{chats}/5").json()
    assert "Link" not in answer.headers


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize("include", ["", "&include=last_message"])
def test_links_lead_through_everything_once(
    http: httpx.Client, chats: str, limit: int, include: str
) -> None:
    pages = walk(http, f"{chats}?{BY_ACTIVITY}&limit={limit}{include}")
    assert [number for page in pages for number in page] == [5, 1, 6, 2, 7, 4, 3]
    assert {len(page) for page in pages[:-1]} <= {limit}


def test_a_stored_message_brings_its_chat_to_the_front(
    http: httpx.Client, database: Database, chats: str
) -> None:
    from crud_service.persist.store import store

    token = token_of(chats.removesuffix("/chats"))
    order = [4, 6, 3]
    entries = [Entry(f"{2000 + n}-0", token, n, n + 1, "new", "r") for n in order]
    store(database, entries)
    assert numbers(http.get(f"{chats}?{BY_ACTIVITY}")) == [3, 6, 4, 5, 1, 2, 7]
    # A message that belongs before the last one brings it nowhere.
    store(database, [Entry("3000-0", token, 4, 1, "late", "r")])
    assert numbers(http.get(f"{chats}?{BY_ACTIVITY}&limit=3")) == [3, 6, 4]


def test_neither_does_a_change(http: httpx.Client, chats: str) -> None:
    assert http.put(f"{chats}/2/messages/2", json={"body": "edited"}).status_code == 200
    answer = http.get(f"{chats}?{BY_ACTIVITY}&include=last_message")
    assert numbers(answer) == [5, 1, 6, 2, 7, 4, 3]
    assert answer.json()[3]["last_message"]["body"] == "edited"


@pytest.mark.parametrize("query", ["", f"&{BY_ACTIVITY}", "&limit=7", "&order=desc"])
def test_a_last_message_is_the_message(http: httpx.Client, chats: str, query: str) -> None:
    with_it = http.get(f"{chats}?include=last_message{query}")
    without = listed(http.get(f"{chats}?{query.removeprefix('&')}"))
    assert [{**chat, "last_message": None} for chat in without] == [
        {**chat, "last_message": None} for chat in listed(with_it)
    ]
    for chat in listed(with_it):
        assert list(chat)[-1] == "last_message"
        if chat["message_count"]:
            path = f"{chats}/{chat['number']}/messages/{chat['message_count']}"
            assert http.get(path).content in with_it.content
            assert chat["last_message"] == http.get(path).json()
        else:
            assert chat["last_message"] is None


def test_pages_by_number_keep_the_last_message(http: httpx.Client, chats: str) -> None:
    answer = http.get(f"{chats}?include=last_message&limit=3&after=2")
    assert numbers(answer) == [3, 4, 5]
    for rel in ("next", "prev"):
        neighbour = listed(http.get(answer.links[rel]["url"]))
        assert all("last_message" in chat for chat in neighbour)


@pytest.mark.parametrize("query", ["", "&limit=60", f"&{BY_ACTIVITY}&limit=60"])
def test_long_last_messages_are_sent_in_pieces(
    http: httpx.Client, database: Database, application: str, query: str
) -> None:
    add_chats(database, application, 60)
    for chat in range(1, 50):
        add_messages(database, application, 1, f"{chat} {'x' * 60000}", chat=chat)
    answer = http.get(f"{application}/chats?include=last_message{query}")
    by_number = sorted(listed(answer), key=lambda chat: int(chat["number"]))
    assert [chat["number"] for chat in by_number] == list(range(1, 61))
    bodies = [chat["last_message"] and chat["last_message"]["body"] for chat in by_number]
    assert bodies == [f"{chat} {'x' * 60000}" if chat < 50 else None for chat in range(1, 61)]


def test_other_applications_are_not_seen(http: httpx.Client, chats: str) -> None:
    token = http.post("/applications", json={"name": "Another"}).json()["access_token"]
    assert http.get(f"/applications/{token}/chats?{BY_ACTIVITY}").content == b"[]"


def test_an_application_that_does_not_exist_is_404(http: httpx.Client, chats: str) -> None:
    assert http.get(f"/applications/{'x' * 24}/chats?{BY_ACTIVITY}").status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("sort=number", "sort"),
        (f"{BY_ACTIVITY}&after=1", "sort"),
        (f"{BY_ACTIVITY}&limit=1001", "limit"),
        (f"{BY_ACTIVITY}&cursor=x", "cursor"),
        ("include=messages", "include"),
    ],
)
def test_a_wrong_value_is_422_and_named(
    http: httpx.Client, chats: str, query: str, field: str
) -> None:
    answer = http.get(f"{chats}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert answer.json()["errors"][0]["field"] == field
