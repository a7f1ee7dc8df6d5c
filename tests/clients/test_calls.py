"""Every call of the clients, on a real stack."""

from typing import Any

import pytest

from bench.running_stack import RunningStack
from chat_backend_client import Client
from tests.clients.callers import Caller, Failed
from tests.polling import eventually

pytestmark = pytest.mark.timeout(400)

Chat = tuple[str, int]


def write(caller: Caller, chat: Chat, *bodies: str) -> None:
    """Create messages and wait until they are stored."""
    for body in bodies:
        number = caller.call(chat, "create_message", body)["number"]
    caller.call(chat, "message", number, until_stored=True)


def test_applications_are_created_renamed_and_listed(caller: Caller) -> None:
    created = caller.call((), "create_application", "Mine")
    target = (created["access_token"],)
    assert caller.call(target, "read") == created
    renamed = caller.call(target, "update", "Ours")
    assert renamed["name"] == "Ours"
    assert renamed in caller.call((), "applications")


def test_chats_are_created_and_listed(caller: Caller, token: str) -> None:
    numbers = [caller.call((token,), "create_chat")["number"] for _ in range(3)]
    assert numbers == [1, 2, 3]
    assert caller.call((token, 3), "read", until_stored=True)["message_count"] == 0
    listed = caller.call((token,), "chats", page_size=2)
    assert [chat["number"] for chat in listed] == [1, 2, 3]
    write(caller, (token, 2), "hi")
    active = caller.call((token,), "chats", sort="-last_message", include="last_message", take=1)
    assert (active[0]["number"], active[0]["last_message"]["body"]) == (2, "hi")


def test_messages_are_listed_page_by_page(caller: Caller, chat: Chat) -> None:
    write(caller, chat, *(f"message {number}" for number in range(1, 8)))
    upwards = caller.call(chat, "messages", page_size=3)
    assert [message["number"] for message in upwards] == [*range(1, 8)]
    downwards = caller.call(chat, "messages", page_size=2, order="desc", before=7, take=3)
    assert [message["number"] for message in downwards] == [6, 5, 4]


def test_attributes_are_kept_and_removed(caller: Caller, token: str) -> None:
    number = caller.call((token,), "create_chat", name="Support", metadata={"a": [1]})["number"]
    chat = (token, number)
    read = caller.call(chat, "read", until_stored=True)
    assert (read["name"], read["metadata"]) == ("Support", {"a": [1]})
    assert "name" not in caller.call(chat, "update", name=None)
    write(caller, chat, "a question")
    answer = {"sender": "Ada", "reply_to": 1, "metadata": {"snake_case": {"camelCase": None}}}
    caller.call(chat, "create_message", "an answer", **answer)
    read = caller.call(chat, "message", 2, until_stored=True)
    assert {name: read[name] for name in answer} == answer
    from_ada = caller.call(chat, "messages", sender="Ada", created_after="2020-01-01T00:00:00Z")
    assert [message["number"] for message in from_ada] == [2]
    assert "metadata" not in caller.call(chat, "update_message", 2, metadata=None)


def test_messages_are_created_together(caller: Caller, chat: Chat) -> None:
    created = caller.call(chat, "create_messages", [{"body": "one"}, {"body": "two"}])
    assert (created["first_number"], created["last_number"]) == (1, 2)
    assert caller.call(chat, "message", 2, until_stored=True)["body"] == "two"


def test_messages_chats_and_applications_are_deleted(caller: Caller, chat: Chat) -> None:
    write(caller, chat, "secret")
    assert caller.call(chat, "delete_message", 1) is None
    deleted = caller.call(chat, "message", 1)
    assert (deleted["body"], "deleted_at" in deleted) == ("", True)
    assert caller.call(chat, "delete") is None
    assert caller.call(chat[:1], "delete") is None
    with pytest.raises(Failed) as caught:
        caller.call(chat[:1], "read")
    assert caught.value.fields["code"] == "not_found"


def test_an_application_is_exported(caller: Caller, chat: Chat) -> None:
    write(caller, chat, "one\u2028", "two")
    lines = caller.call(chat[:1], "export")
    assert [line["type"] for line in lines] == ["application", "chat", *["message"] * 2, "end"]
    assert [line["body"] for line in lines[2:4]] == ["one\u2028", "two"]
    assert lines[-1] == {"type": "end", "chats": 1, "messages": 2}


def test_a_token_is_rotated(caller: Caller, chat: Chat) -> None:
    write(caller, chat, "one")
    rotated = caller.call(chat[:1], "rotate", idempotency_key="of the operator")
    assert caller.call(chat[:1], "rotate", idempotency_key="of the operator") == rotated
    assert caller.call((rotated["access_token"], chat[1]), "message", 1)["body"] == "one"
    with pytest.raises(Failed) as caught:
        caller.call(chat[:1], "read")
    assert caught.value.fields["code"] == "not_found"


def test_changes_are_listed(caller: Caller, chat: Chat) -> None:
    write(caller, chat, "one", "two")
    caller.call(chat, "update_message", 2, body="zwei")
    assert [message["body"] for message in caller.call(chat, "changes", 0)] == ["zwei"]


def test_the_faster_of_two_updates_wins(caller: Caller, chat: Chat) -> None:
    write(caller, chat, "draft")
    read = caller.call(chat, "message_versioned", 1)
    updated = caller.call(chat, "update_message", 1, body="mine", if_match=read["etag"])
    assert updated["body"] == "mine"
    with pytest.raises(Failed) as caught:
        caller.call(chat, "update_message", 1, body="theirs", if_match=read["etag"])
    assert caught.value.fields["code"] == "precondition_failed"


def test_searches_find_and_highlight(caller: Caller, chat: Chat) -> None:
    write(caller, chat, "Ruby on Rails", "a Café & <b>", "the end")

    def search(count: int, keyword: str, **options: Any) -> Any:
        """Search until so many messages are found: they are indexed one after the other."""
        return eventually(
            lambda: caller.call(chat, "search", keyword, **options),
            lambda found: len(found) == count,
            30,
        )

    found = search(1, "CAFE", highlight=True)
    assert found[0]["highlight"] == "a <em>Café</em> &amp; &lt;b&gt;"
    assert [it["body"] for it in search(1, "ails")] == ["Ruby on Rails"]
    assert [it["number"] for it in search(2, "e", sort="number", page_size=1)] == [2, 3]


def test_a_key_of_ones_own_creates_once(caller: Caller, chat: Chat) -> None:
    keys = [caller.call(chat, "create_message", "hi", idempotency_key="k") for _ in range(2)]
    assert [created["number"] for created in keys] == [1, 1]
    with pytest.raises(Failed) as caught:
        caller.call(chat, "create_message", "another", idempotency_key="k")
    assert caught.value.fields["code"] == "idempotency_key_reused"


def test_errors_say_what_is_wrong(caller: Caller, chat: Chat) -> None:
    with pytest.raises(Failed) as caught:
        caller.call(chat, "create_message", "")
    fields = caught.value.fields
    assert (caught.value.kind, fields["status"]) == ("Problem", 422)
    assert fields["errors"][0]["field"] == "body"
    assert fields["request_id"]


def test_a_message_is_followed_from_its_creation_to_its_changes(caller: Caller, chat: Chat) -> None:
    body = "line\u2028paragraph\u2029next\u0085é🤦🏽 \\u2028 \r\n\t end"
    write(caller, chat, body)
    first = caller.call(chat, "follow", after=0, take=1)[0]
    assert (first["type"], first["message"]["body"]) == ("message.created", body)
    caller.call(chat, "update_message", 1, body="changed")
    second = caller.call(chat, "follow", last_event_id=first["id"], take=1)[0]
    assert (second["type"], second["message"]["body"]) == ("message.updated", "changed")
    assert second["message"]["chat_number"] == chat[1]


def test_what_was_just_created_can_be_followed(caller: Caller, token: str) -> None:
    """Neither the chat nor the message need to be stored yet."""
    chat = (token, caller.call((token,), "create_chat")["number"])
    number = caller.call(chat, "create_message", "one")["number"]
    caller.call(chat, "create_message", "two")
    followed = caller.call(chat, "follow", after=number, take=1)
    assert followed[0]["message"]["body"] == "two"


def test_a_chat_is_followed_from_the_page_that_is_shown(stack: RunningStack, chat: Chat) -> None:
    """As the guides say: a change made after the page was read arrives."""
    token, number = chat
    with Client(stack.crud_url, stack.numbering_url) as client:
        shown = client.application(token).chat(number)
        created = shown.create_message("as it is read")["number"]
        shown.message(created, until_stored=True)
        page = next(shown.messages(order="desc", page_size=50).pages())
        shown.update_message(created, body="changed since")
        shown_until = f"{page.items[0]['number']}.{page.last_change}"
        event = next(shown.follow(last_event_id=shown_until))
    assert (event.type, event.message["body"]) == ("message.updated", "changed since")


def test_an_inbox_is_followed(caller: Caller, chat: Chat) -> None:
    assert caller.call(chat[:1], "follow", take=1) == [{"type": "ready"}]
