"""A client in Python: creates, reads, follows, searches.

pip install ./clients/python    # from a clone of the repository
python examples/client.py
"""

import os
import time

from chat_backend_client import Client

CRUD = os.environ.get("CRUD_URL", "http://127.0.0.1:3000")
NUMBERING = os.environ.get("NUMBERING_URL", "http://127.0.0.1:8080")


def main() -> None:
    with Client(CRUD, NUMBERING) as client:
        application = client.application(client.create_application("Example")["access_token"])
        chat = application.chat(application.create_chat()["number"])
        created = chat.create_message("Hello from Python")
        print(chat.message(created["number"], until_stored=True))
        for event in chat.follow(after=0):
            print(event.message)
            break
        while not (found := list(chat.search("pyth"))):
            time.sleep(0.2)  # until it is in the index
        print(found)


if __name__ == "__main__":
    main()
