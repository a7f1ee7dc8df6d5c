"""A small client of the API, for tests that look at the system from outside."""

from typing import Any

import httpx

from chat_backend_client import ChatClient, Client
from tests.polling import eventually

# Generous: what is claimed is that it happens by itself, on a busy machine too. How soon it
# happens on an idle one is what the benchmarks tell.
SEARCHABLE_WITHIN_SECONDS = 30.0
STORED_WITHIN_SECONDS = 30.0


class Api:
    """Both services as one API, each call checked for its status."""

    def __init__(self, client: httpx.Client, crud: str, numbering: str):
        self.client, self.crud, self.numbering = client, crud, numbering

    def application(self, name: str = "An application") -> str:
        """Create an application; returns its path."""
        response = self.client.post(f"{self.crud}/applications", json={"name": name})
        assert response.status_code == 201, response.text
        return f"/applications/{response.json()['access_token']}"

    def chat(self, application: str) -> str:
        """Create a chat; returns its path."""
        response = self.client.post(f"{self.numbering}{application}/chats")
        assert response.status_code == 201, response.text
        return f"{application}/chats/{response.json()['number']}"

    def message(self, chat: str, body: str) -> int:
        """Create a message; returns its number."""
        response = self.client.post(f"{self.numbering}{chat}/messages", json={"body": body})
        assert response.status_code == 201, response.text
        number: int = response.json()["number"]
        return number

    def get(self, path: str) -> Any:
        response = self.client.get(f"{self.crud}{path}")
        assert response.status_code == 200, response.text
        return response.json()

    def numbers(self, path: str) -> list[int]:
        """The numbers in a list, or in the result of a search."""
        response = self.client.get(f"{self.crud}{path}")
        if response.status_code == 404:
            return []
        assert response.status_code == 200, response.text
        return [item["number"] for item in response.json()]

    def wait_for_numbers(
        self, path: str, expected: list[int], seconds: float = STORED_WITHIN_SECONDS
    ) -> None:
        """Ask until a list holds exactly these numbers; fails when it never does."""
        found = eventually(lambda: self.numbers(path), lambda it: it == expected, seconds)
        assert found == expected


def new_chat(client: Client) -> ChatClient:
    """Create a chat of a new application with the client that users have."""
    application = client.application(client.create_application("An application")["access_token"])
    return application.chat(application.create_chat()["number"])
