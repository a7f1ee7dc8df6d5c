"""Attributes of creations: what numbers.lua makes of them, and what the persister reads."""

from dataclasses import replace

import pytest

from contract import keys
from contract.entries import ATTRIBUTES, FIELDS
from contract.shards import ONLY
from numbering_service.creation import Creation
from numbering_service.creations.numbers import NumbersScript
from numbering_service.creations.pending import Batch
from numbering_service.rate_limits import Rate
from tests.contract.test_entries import TOKEN, accept_and_read
from tests.contract.test_numbers_script import MISSING, REUSED, Numbering, chat, message, post
from tests.contract.test_numbers_script import numbering as numbering  # a fixture
from tests.integration.numbering.surroundings import Waiter

BAD_REPLY = -5
SENDER = '{"sender":"Ann \\u00e9 漢"}'


def reply(chat_number: int, reply_to: int, key: str = "") -> Creation:
    return replace(
        post(chat_number, "re", key), attributes=f'{{"reply_to":{reply_to}}}', reply_to=reply_to
    )


def test_attributes_are_read_as_they_were_numbered(redis_url: str) -> None:
    named = Creation(TOKEN, None, "", "r", attributes='{"name":"a"}')
    sent = Creation(TOKEN, 7, "body", "r", attributes=SENDER)
    first, plain, last = accept_and_read(
        redis_url, named, Creation(TOKEN, 7, "b", "r"), sent
    ).entries
    assert [first.attributes, plain.attributes, last.attributes] == ['{"name":"a"}', "", SENDER]
    assert (last.number, last.body) == (42, "body")


def test_only_an_entry_with_attributes_has_their_field(numbering: Numbering) -> None:
    numbering.run(post(1), replace(post(1), attributes=SENDER), post(1))
    entries = [list(fields) for _id, fields in numbering.redis.xrange(keys.ACCEPTED)]
    plain = [name.encode() for name in FIELDS]
    assert entries == [plain, [*plain, ATTRIBUTES.encode()], plain]


def test_a_creation_without_attributes_is_sent_as_before() -> None:
    script = NumbersScript(max_backlog=1, default_rate=Rate(0, 0))
    plain = script.pack([Batch("b", ONLY, [Waiter(post(1))])], again=False)
    assert b"attributes" not in plain
    assert plain.startswith(b"*8\r\n")  # 3 words, 4 keys, an argument


def test_a_reply_needs_a_number_that_was_handed_out(numbering: Numbering) -> None:
    assert numbering.answers(reply(2, 41), reply(2, 40), reply(2, 41), reply(1, 1)) == [
        BAD_REPLY,
        41,
        42,
        BAD_REPLY,
    ]
    assert numbering.answers(reply(2, 2**63 - 1), reply(9, 1)) == [BAD_REPLY, MISSING]
    assert len(numbering.entries()) == 2


def test_a_refused_reply_takes_no_number_and_leaves_no_key(numbering: Numbering) -> None:
    before = set(numbering.redis.keys())
    assert numbering.answers(reply(1, 5, "key")) == [BAD_REPLY]
    assert set(numbering.redis.keys()) == before
    assert numbering.redis.get(message(1)) == b"0"
    assert numbering.answers(post(1, "another", "key")) == [1]


def test_attributes_are_part_of_what_a_key_stands_for(numbering: Numbering) -> None:
    sent = replace(post(1, key="k"), attributes=SENDER)
    named = replace(chat(key="c"), attributes='{"name":"a"}')
    assert numbering.answers(sent, named) == [1, 3]
    assert numbering.answers(sent, named) == [b"1", b"3"]
    for other in (post(1, key="k"), replace(sent, attributes='{"sender":"Bob"}')):
        assert numbering.answers(other) == [REUSED]
    for other in (chat(key="c"), replace(named, attributes='{"name":"b"}')):
        assert numbering.answers(other) == [REUSED]


@pytest.mark.parametrize("creation", [chat(key="k"), post(1, key="k")])
def test_a_key_from_before_attributes_still_replays(
    numbering: Numbering, creation: Creation
) -> None:
    """The digests of creations without attributes are what they were."""
    digest = creation.script_arguments()[4] if creation.chat_number else "-"
    numbering.redis.set(creation.script_keys()[1], f"{digest} 1")
    assert numbering.answers(creation) == [b"1"]
    assert numbering.answers(replace(creation, attributes=SENDER)) == [REUSED]


def test_a_reply_is_replayed_before_its_number_is_looked_at(numbering: Numbering) -> None:
    assert numbering.answers(reply(2, 40, "k")) == [41]
    numbering.redis.delete(message(2))
    assert numbering.answers(reply(2, 40, "k")) == [b"41"]
