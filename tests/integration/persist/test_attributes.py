"""Attributes on the persist path: into the rows, or into the tables of what was not stored."""

from collections.abc import Callable

import pytest
import redis

from contract.entries import ATTRIBUTES, FIELDS
from contract.keys import ACCEPTED
from tests.integration.accepting import TOKEN, Row, accept, accept_raw, bodies, query

ATTRIBUTE_COLUMNS = "SELECT sender, metadata::text, reply_to FROM messages ORDER BY number"
CHATS = "SELECT name, metadata::text FROM chats ORDER BY number"
EXACT = '{"a":12345678901234567890.10,"b":null}'

Drain = Callable[[], None]


def accept_with(
    client: redis.Redis,
    attributes: str,
    number: int = 1,
    body: str = "hello",
    *,
    chat: int | str = 1,
    entry_id: str = "*",
    token: str = TOKEN,
) -> str:
    """Put an entry with attributes into the stream."""
    values = (token, str(chat), str(number), body, "r", attributes)
    return accept_raw(client, dict(zip((*FIELDS, ATTRIBUTES), values, strict=True)), entry_id)


def conflicts(database: str) -> list[Row]:
    return query(database, "SELECT body, attributes FROM conflicts ORDER BY id")


def test_attributes_are_stored_beside_entries_without_any(
    database: str, stream: redis.Redis, drain: Drain
) -> None:
    accept(stream, 1)
    accept_with(stream, f'{{"sender":"Ann \\u00e9","metadata":{EXACT},"reply_to":1}}', 2)
    accept_with(stream, '{"reply_to":2}', 3)
    accept(stream, 4)
    drain()
    nothing = (None, None, None)
    assert query(database, ATTRIBUTE_COLUMNS) == [
        nothing,
        ("Ann é", EXACT, 1),
        (None, None, 2),
        nothing,
    ]


def test_a_chat_gets_its_name_and_metadata(
    database: str, stream: redis.Redis, drain: Drain
) -> None:
    accept_with(stream, f'{{"name":"Support","metadata":{EXACT}}}', 1, "", chat="")
    accept(stream, 2, "", chat="")
    accept(stream, 1, chat=1)
    drain()
    assert query(database, CHATS) == [("Support", EXACT), (None, None)]


def test_a_chat_stored_for_its_message_gets_its_name_later(
    database: str, stream: redis.Redis, drain: Drain
) -> None:
    accept_with(stream, '{"sender":"Ann"}', 1, chat=1, entry_id="2000-0")
    drain()
    accept_with(stream, '{"name":"Support"}', 1, "", chat="", entry_id="2001-0")
    drain()
    assert query(database, CHATS) == [(None, None)]  # another chat's creation
    assert conflicts(database) == [("", '{"name":"Support"}')]
    stream.delete(ACCEPTED)
    accept_with(stream, '{"name":"Support"}', 1, "", chat="", entry_id="1000-0")
    drain()
    assert query(database, CHATS) == [("Support", None)]


def test_a_replay_does_not_bring_back_a_name_that_was_removed(
    database: str, stream: redis.Redis, drain: Drain
) -> None:
    accept_with(stream, '{"name":"Support"}', 1, "", chat="", entry_id="1000-0")
    drain()
    query(database, "UPDATE chats SET name = NULL, updated_at = now()")
    stream.delete(ACCEPTED)
    accept_with(stream, '{"name":"Support"}', 1, "", chat="", entry_id="1000-0")
    drain()
    assert query(database, CHATS) == [(None, None)]


@pytest.mark.parametrize("other", ["", '{"sender":"Bob"}', '{"sender":"Ann","reply_to":1}'])
def test_a_number_taken_with_other_attributes_is_a_conflict(
    database: str, stream: redis.Redis, drain: Drain, other: str
) -> None:
    own = '{"sender":"Ann"}'
    for attributes in (own, own, other):
        stream.delete(ACCEPTED)
        if attributes:
            accept_with(stream, attributes, entry_id="1000-0")
        else:
            accept(stream, 1, entry_id="1000-0")
        drain()
    assert query(database, ATTRIBUTE_COLUMNS) == [("Ann", None, None)]
    assert conflicts(database) == [("hello", other)]


def test_a_replay_of_a_message_with_changed_metadata_is_no_conflict(
    database: str, stream: redis.Redis, drain: Drain
) -> None:
    accept_with(stream, '{"metadata":{"a":1}}', entry_id="1000-0")
    drain()
    query(database, "UPDATE messages SET metadata = NULL, updated_at = now()")
    stream.delete(ACCEPTED)
    accept_with(stream, '{"metadata":{"a":1}}', entry_id="1000-0")
    drain()
    assert conflicts(database) == []


@pytest.mark.parametrize(
    "bad",
    ["{", "[", '{"sender":"a\\u0000b"}', f'{{"sender":"{"x" * 256}"}}', '{"reply_to":"x"}'],
)
def test_attributes_that_cannot_be_stored_are_set_aside(
    database: str, stream: redis.Redis, drain: Drain, bad: str
) -> None:
    accept_with(stream, '{"sender":"Ann"}', 1, "first")
    accept_with(stream, bad, 2, "second")
    accept(stream, 3, "third")
    drain()
    assert bodies(database) == [(1, "first"), (3, "third")]
    assert query(database, "SELECT number, payload->>'attributes' FROM set_aside_entries") == [
        (2, bad)
    ]


def test_a_requeued_entry_keeps_its_attributes(
    database: str, stream: redis.Redis, drain: Drain
) -> None:
    from crud_service.persist.requeue import requeue

    other = "B" * 24
    attributes = f'{{"sender":"Ann","metadata":{EXACT},"reply_to":1}}'
    accept_with(stream, '{"name":"Support"}', 1, "", chat="", token=other)
    accept_with(stream, attributes, 1, token=other)
    drain()
    assert query(database, ATTRIBUTE_COLUMNS) == []
    query(database, "INSERT INTO applications (access_token, name) VALUES (%s, 'late')", other)
    assert not requeue().left
    assert query(database, ATTRIBUTE_COLUMNS) == [("Ann", EXACT, 1)]
    assert query(database, CHATS) == [("Support", None)]


def test_a_change_of_metadata_is_numbered_and_needs_no_indexing(
    database: str, stream: redis.Redis, drain: Drain
) -> None:
    accept(stream, 1)
    drain()
    query(database, "DELETE FROM search_outbox")
    for metadata in ("{}", "{}", '{"a":1}', None):
        query(database, "UPDATE messages SET metadata = %s", metadata)
    assert query(database, "SELECT changes FROM chats") == [(3,)]
    assert query(database, "SELECT * FROM search_outbox") == []
