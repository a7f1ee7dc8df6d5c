"""A client in Python: creates, retries safely, reads, follows, searches.

pip install httpx
python examples/client.py
"""

import json
import os
import time
import uuid
from collections.abc import Iterator

import httpx

CRUD = os.environ.get("CRUD_URL", "http://127.0.0.1:3000")
NUMBERING = os.environ.get("NUMBERING_URL", "http://127.0.0.1:8080")


def post(client: httpx.Client, url: str, json: dict[str, str]) -> dict[str, object]:
    """Create once, however often it has to be sent.

    The key is the same in every try: if an answer was lost, the service gives it again.
    """
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(5):
        try:
            response = client.post(url, json=json, headers=headers)
        except httpx.TransportError:
            time.sleep(1)
            continue
        if response.status_code == 503:
            time.sleep(int(response.headers["Retry-After"]))
            continue
        response.raise_for_status()
        created: dict[str, object] = response.json()
        return created
    raise TimeoutError(f"no answer from {url}")


def wait_for(client: httpx.Client, url: str) -> httpx.Response:
    """Read what was just created; it takes some milliseconds to be stored."""
    while True:
        response = client.get(url)
        if response.status_code != 404 or response.json()["code"] != "not_stored_yet":
            return response.raise_for_status()
        time.sleep(0.05)


def follow(client: httpx.Client, url: str, last_event_id: str) -> Iterator[dict[str, object]]:
    """Yield the messages of a chat that are created or changed, without end.

    Whatever breaks off goes on behind the last event: nothing is missed.
    """
    while True:
        headers = {"Last-Event-ID": last_event_id}
        try:
            # A comment comes every 15 seconds, so 30 without anything mean a dead connection.
            with client.stream("GET", url, headers=headers, timeout=30) as response:
                response.raise_for_status()
                text = ""
                for chunk in response.iter_text():
                    *events, text = (text + chunk).split("\n\n")
                    for event in events:
                        # Not splitlines: that splits at characters within messages as well.
                        fields = dict(line.partition(": ")[::2] for line in event.split("\n"))
                        last_event_id = fields.get("id", last_event_id)
                        if fields.get("event", "").startswith("message."):
                            message: dict[str, object] = json.loads(fields["data"])
                            yield message
        except httpx.TransportError:
            pass
        time.sleep(2)


def main() -> None:
    with httpx.Client(timeout=10) as client:
        application = client.post(f"{CRUD}/applications", json={"name": "Example"}).json()
        path = f"/applications/{application['access_token']}/chats"
        chat = post(client, f"{NUMBERING}{path}", {})
        path += f"/{chat['number']}/messages"
        message = post(client, f"{NUMBERING}{path}", {"body": "Hello from Python"})
        print(wait_for(client, f"{CRUD}{path}/{message['number']}").json())
        for followed in follow(client, f"{CRUD}{path}/stream", "0.0"):
            print(followed)
            break
        time.sleep(2)
        print(client.get(f"{CRUD}{path}/search", params={"keyword": "pyth"}).json())


if __name__ == "__main__":
    main()
