"""Entries on both sides: as numbering_service writes them and crud_service reads them."""

import asyncio

import pytest
import redis

from contract.entries import FIELDS, BadEntryError, Entry, created_at, decode, encode
from contract.keys import ACCEPTED, chat_sequence, message_sequence
from crud_service.persist.accepted import Batch, fill
from numbering_service.creation import Creation
from tests.integration.numbering.surroundings import number

TOKEN = "AbcdefghijklmnopqrstuvwX"
BODIES = (
    "hi",
    " spaces \n kept ",
    "e\u0301 é 👩‍👩‍👧 שלום 漢字",
    '{"body": 1}',
    "x" * 65_536,
    "\x01\x7f\u2028",
)


def accept_and_read(url: str, *creations: Creation) -> Batch:
    """Return what the persister reads of what the numbering script wrote."""
    with redis.Redis.from_url(url, protocol=2) as client:
        client.set(chat_sequence(TOKEN), 0)
        client.set(message_sequence(TOKEN, 7), 40)
        asyncio.run(number(url, *creations))
        return fill(client, Batch())


def test_a_chat_is_read_as_it_was_numbered(redis_url: str) -> None:
    [entry] = accept_and_read(redis_url, Creation(TOKEN, None, "", "request-1")).entries
    assert entry == Entry(entry.entry_id, TOKEN, None, 1, "", "request-1")
    assert entry.is_chat


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_a_message_is_read_as_it_was_numbered(redis_url: str, body: str) -> None:
    [entry] = accept_and_read(redis_url, Creation(TOKEN, 7, body, "request-2")).entries
    assert entry == Entry(entry.entry_id, TOKEN, 7, 41, body, "request-2")


def test_every_entry_has_the_agreed_fields_in_their_order(redis_url: str) -> None:
    accept_and_read(redis_url, Creation(TOKEN, None, "", "r"), Creation(TOKEN, 7, "b", "r"))
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        for _entry_id, fields in client.xrange(ACCEPTED):
            assert [name.decode() for name in fields] == list(FIELDS)


def test_the_python_encoding_matches_the_script(redis_url: str) -> None:
    [entry] = accept_and_read(redis_url, Creation(TOKEN, 7, "b", "r")).entries
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        [(_entry_id, fields)] = client.xrange(ACCEPTED)
    assert {name.encode(): value.encode() for name, value in encode(entry).items()} == fields


def test_created_at_is_the_moment_of_the_entry_id() -> None:
    moment = created_at("1660083472599-3")
    assert moment.isoformat(timespec="milliseconds") == "2022-08-09T22:17:52.599+00:00"


@pytest.mark.parametrize(
    "spoilt",
    [{b"number": b"x"}, {b"number": b""}, {b"chat_number": b"1.0"}, {b"body": b"\xed\xa0\x80"}],
)
def test_a_malformed_entry_is_recognised(spoilt: dict[bytes, bytes]) -> None:
    fields = dict(
        zip((name.encode() for name in FIELDS), (b"t", b"1", b"1", b"b", b"r"), strict=True)
    )
    assert decode(b"1-0", fields).number == 1
    with pytest.raises(BadEntryError):
        decode(b"1-0", fields | spoilt)


def test_an_entry_without_a_field_is_malformed() -> None:
    with pytest.raises(BadEntryError, match=r"KeyError: b'number'"):
        decode(b"1-0", {b"access_token": b"t", b"chat_number": b"1", b"body": b"hi"})
