"""The optional fields of a creation: what is accepted, and what becomes of them."""

import json
from dataclasses import replace
from typing import Any

import pytest

from numbering_service.creation import Creation, payload_digest
from numbering_service.creations.attributes import (
    MessageFields,
    chat_fields,
    check_chat,
    check_message,
    message_fields,
)
from web.problems import MalformedBody, ValidationFailed

JSON, FORM = "application/json", "application/x-www-form-urlencoded"
TOKEN = "A" * 24
BAD_TEXTS: list[object] = [None, 1, True, {}, [], "", " \u200b", "x" * 256, "a\x00b"]


def message(query: bytes = b"", **fields: Any) -> MessageFields:
    body = json.dumps({"body": "hi", **fields}).encode()
    return check_message(message_fields(JSON, body, query))


def chat(query: bytes = b"", **fields: Any) -> str:
    return check_chat(chat_fields(JSON, json.dumps(fields).encode(), query))


def test_a_creation_without_optional_fields_has_no_attributes() -> None:
    assert message(unknown=1) == MessageFields("hi", "", 0)
    assert chat(unknown=1) == ""
    for nothing in (b"", b"null", b'""'):
        assert check_chat(chat_fields(JSON, nothing, b"")) == ""


def test_attributes_are_compact_json_in_a_fixed_order() -> None:
    fields = message(reply_to=7, metadata={"b": 1, "a": "é"}, sender=' "Ann" ')
    attributes = '{"sender":" \\"Ann\\" ","metadata":{"a":"é","b":1},"reply_to":7}'
    assert fields == MessageFields("hi", attributes, 7)
    assert chat(metadata={}, name="Support") == '{"name":"Support","metadata":{}}'


@pytest.mark.parametrize("bad", BAD_TEXTS)
def test_a_bad_sender_or_name_is_refused(bad: object) -> None:
    with pytest.raises(ValidationFailed, match="sender"):
        message(sender=bad)
    with pytest.raises(ValidationFailed, match="name"):
        chat(name=bad)


@pytest.mark.parametrize("bad", [None, 0, -1, 1.0, True, "1", "", [], 2**63, 2**64])
def test_a_reply_is_to_a_number(bad: object) -> None:
    with pytest.raises(ValidationFailed, match="reply_to"):
        message(reply_to=bad)


def test_a_refusal_names_every_field_that_is_not_valid() -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_message({"sender": "", "reply_to": 0, "metadata": {}, "unknown": None})
    fields = [error["field"] for error in refused.value.errors]
    assert fields == ["body", "sender", "reply_to"]
    with pytest.raises(ValidationFailed) as refused:
        chat(name=1, metadata=1)
    assert [error["field"] for error in refused.value.errors] == ["name", "metadata"]


def test_forms_and_query_strings_have_numbers_as_text() -> None:
    assert check_message(message_fields(FORM, b"body=x&reply_to=3&sender=Ann", b"")).reply_to == 3
    assert message(b"reply_to=4&sender=Ann") == MessageFields(
        "hi", '{"sender":"Ann","reply_to":4}', 4
    )
    assert message(b"reply_to=4", reply_to=5).reply_to == 5
    for bad in (b"reply_to=x", b"reply_to=0", b"reply_to=01", b"reply_to="):
        with pytest.raises(ValidationFailed, match="reply_to"):
            message(bad)
    assert chat(b"name=A+chat") == '{"name":"A chat"}'


@pytest.mark.parametrize("query", [b"sender", b"a=b&sender", b"sender&a=b", b"s%65nder"])
def test_a_field_in_a_query_without_a_value_is_empty(query: bytes) -> None:
    with pytest.raises(ValidationFailed, match="sender"):
        message(query)
    with pytest.raises(ValidationFailed, match="name"):
        chat(query.replace(b"sender", b"name").replace(b"s%65nder", b"n%61me"))


def test_a_query_without_an_optional_field_is_not_parsed() -> None:
    """It may hold anything, as it always could where the body has what is needed."""
    assert message(b"utm=%ff&sendername=%ff") == MessageFields("hi")
    assert chat(b"utm=%ff") == ""


def test_an_unknown_parameter_is_ignored_whatever_it_holds() -> None:
    assert message(b"sender=Ann&utm=%ff&%ff=1").attributes == '{"sender":"Ann"}'
    assert chat(b"name=x&utm=%ff") == '{"name":"x"}'
    assert message(b"sender=Ann&body=%ff").body == "hi"
    with pytest.raises(MalformedBody):
        message(b"sender=%ff")


def test_attributes_are_part_of_the_payload() -> None:
    assert payload_digest("a", "{}") != payload_digest("a{}") != payload_digest("a")
    creation = Creation(TOKEN, 1, "a", "r", "key")
    assert creation.script_arguments()[4] == payload_digest("a")
    assert replace(creation, attributes="{}").script_arguments()[4] == payload_digest("a", "{}")


def test_the_size_of_a_creation_includes_its_attributes() -> None:
    assert Creation(TOKEN, 1, "é", "r").body_size == 2
    assert Creation(TOKEN, 1, "é", "r", attributes='{"sender":"é"}').body_size == 2 + 15


def test_an_escaped_name_in_a_query_is_the_same_name() -> None:
    fields = message_fields("application/json", b'{"body":"x"}', b"a=%41&s%65nder=Ann")
    assert fields == {"sender": "Ann", "body": "x"}
    assert chat_fields(None, b"", b"%6eame=A%20chat") == {"name": "A chat"}
    assert message_fields("application/json", b'{"body":"x"}', b"a=%41&b") == {"body": "x"}
