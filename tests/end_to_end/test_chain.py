"""The whole chain: create → chat → messages → list → search → update, over both ports."""

import httpx
import pytest

from tests.api_client import SEARCHABLE_WITHIN_SECONDS, Api

MESSAGE_KEYS = ["number", "body", "created_at", "updated_at"]


def test_the_chain_from_an_application_to_a_search(api: Api) -> None:
    application = api.application("Chain")
    chat = api.chat(application)
    for body in ("Ruby on Rails", "Django", "Ruby and Django"):
        api.message(chat, body)
    api.wait_for_numbers(f"{chat}/messages", [1, 2, 3])
    found = [3, 1]
    path = f"{chat}/messages/search?keyword=uby"
    api.wait_for_numbers(path, found, SEARCHABLE_WITHIN_SECONDS)
    assert api.get(chat)["message_count"] == 3
    assert api.get(application)["chat_count"] == 1


def test_a_stored_message_has_its_exact_text_and_times(api: Api) -> None:
    chat = api.chat(api.application())
    body = "  Zoë said:\n\t'héllo' 👩‍👩‍👧 שלום  "
    api.message(chat, body)
    api.wait_for_numbers(f"{chat}/messages", [1])
    message = api.get(f"{chat}/messages/1")
    assert list(message) == MESSAGE_KEYS
    assert message["body"] == body
    assert message["created_at"] == message["updated_at"]
    assert len(message["created_at"]) == len("2022-08-09T22:17:52.599Z")


def test_an_updated_message_is_found_by_its_new_text_and_not_by_its_old_one(api: Api) -> None:
    chat = api.chat(api.application())
    api.message(chat, "the old wording")
    search = f"{chat}/messages/search?keyword="
    api.wait_for_numbers(f"{search}old", [1], SEARCHABLE_WITHIN_SECONDS)
    url = f"{api.crud}{chat}/messages/1"
    response = api.client.put(url, json={"body": "the new wording"})
    assert response.status_code == 200, response.text
    assert response.json()["body"] == "the new wording"
    api.wait_for_numbers(f"{search}new", [1], SEARCHABLE_WITHIN_SECONDS)
    api.wait_for_numbers(f"{search}old", [], SEARCHABLE_WITHIN_SECONDS)


def test_a_message_can_be_posted_as_soon_as_its_chat_is_answered(api: Api) -> None:
    application = api.application()
    for number in range(1, 31):
        chat = api.chat(application)
        assert chat.endswith(f"/chats/{number}")
        assert api.message(chat, "at once") == 1


def test_a_chat_can_be_created_as_soon_as_its_application_is_answered(api: Api) -> None:
    for _ in range(20):
        assert api.chat(api.application()).endswith("/chats/1")


def test_both_locations_of_numbering_lead_to_the_created_resource(api: Api) -> None:
    application = api.application()
    chat = api.client.post(f"{api.numbering}{application}/chats")
    assert list(chat.json()) == ["number", "access_token"]
    assert chat.headers["location"] == f"{api.crud}{application}/chats/1"
    posted = f"{api.numbering}{application}/chats/1/messages"
    message = api.client.post(posted, json={"body": "hello"})
    assert list(message.json()) == ["number", "chat_number", "access_token"]
    assert message.headers["location"] == f"{api.crud}{application}/chats/1/messages/1"
    api.wait_for_numbers(f"{application}/chats/1/messages", [1])
    assert api.client.get(message.headers["location"]).json()["body"] == "hello"


@pytest.mark.parametrize("slash", ["", "/"])
def test_every_path_works_with_and_without_a_trailing_slash(api: Api, slash: str) -> None:
    created = api.client.post(f"{api.crud}/applications{slash}", json={"name": "Slash"})
    assert created.status_code == 201
    application = f"/applications/{created.json()['access_token']}"
    assert post(api, f"{application}/chats{slash}", {}) == 201
    assert post(api, f"{application}/chats/1/messages{slash}", {"body": "one"}) == 201
    chat = f"{application}/chats/1"
    api.wait_for_numbers(f"{chat}/messages{slash}", [1])
    gets = ["/applications", application, f"{application}/chats", chat, f"{chat}/messages/1"]
    for path in gets:
        assert api.client.get(f"{api.crud}{path}{slash}").status_code == 200, path
    assert api.client.get(f"{api.crud}{chat}/messages/search{slash}?keyword=o").status_code == 200
    changed = api.client.put(f"{api.crud}{chat}/messages/1{slash}", json={"body": "two"})
    assert changed.status_code == 200
    renamed = api.client.put(f"{api.crud}{application}{slash}", json={"name": "Renamed"})
    assert renamed.json()["name"] == "Renamed"


def post(api: Api, path: str, body: dict[str, str]) -> int:
    """Return the status of a creation, without following redirects."""
    response: httpx.Response = api.client.post(f"{api.numbering}{path}", json=body)
    return response.status_code
