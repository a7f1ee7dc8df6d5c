"""Attributes of messages and chats: where they appear, and how a PUT changes them."""

from typing import Any

import httpx
import pytest

from tests.integration.crud_rows import Database, add_attributes, add_chat_of

MESSAGE_KEYS = ["number", "body", "created_at", "updated_at"]
CHAT_KEYS = ["number", "message_count", "created_at", "updated_at"]
SET = {
    **{1: [], 2: [], 3: ["sender", "metadata", "reply_to"], 4: ["sender"]},
    **{5: ["metadata"], 6: ["reply_to"], 7: ["sender", "reply_to"]},
}
METADATA = {"a": None, "b": [1.5, "\u2028"]}
SENDER = 'Ann "é" \\'
STATE = """
SELECT c.changes, m.change, m.version, m.sender, (SELECT count(*) FROM search_outbox)
FROM messages m JOIN chats c ON c.id = m.chat_id WHERE m.number = 3
"""


@pytest.fixture
def chat(database: Database, application: str) -> str:
    path = add_chat_of(database, application, 7, "before")
    add_attributes(database)
    database.execute("UPDATE messages SET change = 0")
    database.execute("UPDATE chats SET changes = 0")
    database.execute("TRUNCATE search_outbox")
    return path


@pytest.fixture
def message(chat: str) -> str:
    """A message with all attributes."""
    return f"{chat}/messages/3"


def state(database: Database) -> Any:
    """The message's chat's changes, its own last one, version, sender, and changes to index."""
    row = database.execute(STATE).fetchone()
    assert row is not None
    return row


def put(http: httpx.Client, path: str, /, **fields: object) -> dict[str, Any]:
    answer = http.put(path, json=fields)
    assert answer.status_code == 200, answer.text
    assert answer.content == http.get(path).content
    assert answer.headers["ETag"] == http.get(path).headers["ETag"]
    changed: dict[str, Any] = answer.json()
    return changed


@pytest.mark.parametrize("query", ["", "?limit=7", "?after=0&order=desc", "?changed_after=0"])
def test_attributes_appear_where_they_are_set_behind_the_others(
    http: httpx.Client, database: Database, chat: str, query: str
) -> None:
    database.execute("UPDATE messages SET change = number")
    listed = http.get(f"{chat}/messages{query}").json()
    assert {item["number"]: list(item) for item in listed} == {
        number: MESSAGE_KEYS + names for number, names in SET.items()
    }
    for item in listed:
        assert http.get(f"{chat}/messages/{item['number']}").json() == item
        assert item.get("metadata", METADATA) == METADATA
        assert item.get("sender", SENDER) == SENDER
        assert item.get("reply_to", 1) == 1


def test_metadata_is_answered_as_it_was_stored(http: httpx.Client, chat: str) -> None:
    assert (
        b'"metadata":{"a":null,"b":[1.50,"\\u2028"]},"reply_to":1}'
        in http.get(f"{chat}/messages/3").content
    )


@pytest.mark.parametrize("query", ["", "?limit=1", "?sort=-last_message"])
def test_a_chat_has_its_name_and_metadata_before_its_last_message(
    http: httpx.Client, chat: str, application: str, query: str
) -> None:
    [listed] = http.get(f"{application}/chats{query}").json()
    assert list(listed) == [*CHAT_KEYS, "name", "metadata"]
    assert http.get(chat).json() == listed
    separator = "&" if query else "?"
    [listed] = http.get(f"{application}/chats{query}{separator}include=last_message").json()
    assert list(listed) == [*CHAT_KEYS, "name", "metadata", "last_message"]
    assert listed["last_message"] == http.get(f"{chat}/messages/7").json()


def test_a_chat_without_attributes_has_the_original_keys(
    http: httpx.Client, database: Database, application: str
) -> None:
    chat = add_chat_of(database, application, 1)
    assert list(http.get(chat).json()) == CHAT_KEYS
    [listed] = http.get(f"{application}/chats?include=last_message").json()
    assert list(listed) == [*CHAT_KEYS, "last_message"]
    database.execute("UPDATE chats SET highest_number = 0, last_message_id = 0")
    [listed] = http.get(f"{application}/chats?include=last_message").json()
    assert listed["last_message"] is None


def test_lists_with_much_metadata_are_cut_into_pieces_and_complete(
    http: httpx.Client, database: Database, application: str
) -> None:
    chat = add_chat_of(database, application, 500, "m")
    database.execute("""UPDATE messages SET metadata = json_build_object('a', repeat('x', 4000))""")
    for query in ("", "?limit=500"):
        listed = http.get(f"{chat}/messages{query}").json()
        assert [item["number"] for item in listed] == list(range(1, 501))
        assert {len(item["metadata"]["a"]) for item in listed} == {4000}
    database.execute("""UPDATE chats SET metadata = json_build_object('a', repeat('x', 4000))""")
    for query in ("", "?limit=5", "?sort=-last_message&include=last_message"):
        assert len(http.get(f"{application}/chats{query}").json()[0]["metadata"]["a"]) == 4000


def test_metadata_alone_is_changed_without_indexing(
    http: httpx.Client, database: Database, message: str
) -> None:
    before = http.get(message).json()
    changed = put(http, message, metadata={"b": 1, "a": 12345678901234567890123})
    assert changed["metadata"] == {"a": 12345678901234567890123, "b": 1}
    assert changed["updated_at"] > before["updated_at"]
    assert {**changed, "metadata": None, "updated_at": None} == {
        **before,
        "metadata": None,
        "updated_at": None,
    }
    assert state(database) == (1, 1, 1, SENDER, 0)


def test_null_removes_metadata_but_nothing_removes_the_sender(
    http: httpx.Client, database: Database, message: str
) -> None:
    assert "metadata" not in put(http, message, metadata=None, sender=None, reply_to=None)
    changed = put(http, message, body="after", sender="Bob", reply_to=2)
    assert changed["body"] == "after"
    assert (changed["sender"], changed["reply_to"]) == (SENDER, 1)
    assert state(database) == (2, 2, 2, SENDER, 1)


def test_body_and_metadata_are_changed_together(
    http: httpx.Client, database: Database, message: str
) -> None:
    changed = put(http, message, body="after", metadata={})
    assert (changed["body"], changed["metadata"]) == ("after", {})
    assert state(database) == (1, 1, 2, SENDER, 1)
    assert "metadata" not in put(http, message, body="after", metadata=None)
    assert state(database) == (2, 2, 2, SENDER, 1)


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"b": [1.5, "\u2028"], "a": None}},
        {"metadata": {"b": [1.5, "\u2028"], "a": None}, "body": "before"},
        {"body": "before"},
    ],
)
def test_a_put_that_changes_nothing_changes_nothing(
    http: httpx.Client, database: Database, message: str, fields: dict[str, Any]
) -> None:
    http.put(message, json={"metadata": METADATA})
    before, counted = http.get(message), state(database)
    answer = http.put(message, json=fields)
    assert (answer.status_code, answer.content) == (200, before.content)
    assert state(database) == counted


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"sender": "Bob"},
        {"body": None},
        {"metadata": []},
        {"metadata": "{}"},
        {"body": "x", "metadata": 1},
        {"body": "", "metadata": {}},
        {"metadata": {"a": "\x00"}},
    ],
)
def test_a_bad_change_of_a_message_is_422(
    http: httpx.Client, message: str, fields: dict[str, Any]
) -> None:
    before = http.get(message).content
    answer = http.put(message, json=fields)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed")
    assert http.get(message).content == before


@pytest.mark.parametrize(
    "sent",
    [
        {"data": {"metadata": "{}"}},
        {"files": {"metadata": (None, "{}")}},
        {"params": "metadata={}"},
    ],
)
def test_metadata_needs_a_json_body(
    http: httpx.Client, chat: str, message: str, sent: dict[str, Any]
) -> None:
    for path in (chat, message):
        answer = http.put(path, **sent)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "metadata")


def test_a_chat_is_named_and_described(http: httpx.Client, database: Database, chat: str) -> None:
    before = http.get(chat).json()
    changed = put(http, chat, name="  kept to the letter  ")
    assert (changed["name"], changed["metadata"]) == ("  kept to the letter  ", {"a": 1})
    assert changed["updated_at"] > before["updated_at"]
    assert "metadata" not in put(http, chat, metadata=None)
    assert list(put(http, chat, name=None)) == CHAT_KEYS
    assert put(http, chat, name="x", metadata={"b": 1.10})["metadata"] == {"b": 1.1}
    assert state(database)[0] == 4  # followers see each change


def test_a_put_of_the_same_chat_changes_nothing(
    http: httpx.Client, database: Database, chat: str
) -> None:
    before = http.get(chat)
    for fields in (
        {"name": "A chat"},
        {"metadata": {"a": 1}},
        {"name": "A chat", "metadata": {"a": 1}},
    ):
        assert http.put(chat, json=fields).content == before.content
    assert state(database)[0] == 0


@pytest.mark.parametrize(
    "fields", [{}, {"name": ""}, {"name": 1}, {"name": "x" * 256}, {"metadata": 1}]
)
def test_a_bad_change_of_a_chat_is_422(
    http: httpx.Client, chat: str, fields: dict[str, Any]
) -> None:
    assert http.put(chat, json=fields).status_code == 422


def test_a_put_of_no_field_names_every_field_that_would_do(
    http: httpx.Client, chat: str, message: str
) -> None:
    for path, first in ((message, "body"), (chat, "name")):
        (error,) = http.put(path, json={}).json()["errors"]
        assert error == {"field": first, "message": "Is required unless metadata is sent."}


def test_conditions_of_a_change_of_a_chat(http: httpx.Client, chat: str) -> None:
    tag = http.get(chat).headers["ETag"]
    for refused in ({"If-Match": '"older"'}, {"If-None-Match": "*"}, {"If-None-Match": tag}):
        assert http.put(chat, json={"name": "x"}, headers=refused).status_code == 412
    assert http.put(chat, json={"name": "x"}, headers={"If-Match": tag}).status_code == 200
    assert http.put(chat, json={"name": "y"}, headers={"If-Match": tag}).status_code == 412
    assert http.put(f"{chat}0", json={"name": "x"}, headers={"If-Match": "*"}).status_code == 404


def test_a_form_names_a_chat(http: httpx.Client, chat: str) -> None:
    assert http.put(chat, data={"name": "by a form"}).json()["name"] == "by a form"
    assert http.put(f"{chat}?name=by+a+query").json()["name"] == "by a query"
