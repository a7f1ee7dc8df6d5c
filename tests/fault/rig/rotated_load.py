"""Clients that create under whatever access token their application has at the moment."""

import threading
import time
from collections import Counter
from http import HTTPStatus

import httpx

from local_stack.ports import PLAIN_HTTP

CREATORS = 6


class RotatedLoad:
    """Creates chats, and messages in the first one, until it is stopped; `token` may change."""

    def __init__(self, numbering_url: str, token: str) -> None:
        self.token = token
        self.statuses: Counter[int] = Counter()
        self.chats: list[int] = []
        self.messages: list[int] = []
        # Creations that were answered with a number under a token that was not valid any more.
        self.after_the_end: list[str] = []
        self._ended: dict[str, float] = {}
        self._numbering = numbering_url
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._create, args=(number < 1,)) for number in range(CREATORS)
        ]

    def __enter__(self) -> "RotatedLoad":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def rotated(self, token: str) -> None:
        """Go on under another token, after the rotation was answered."""
        self._ended[self.token] = time.monotonic()
        self.token = token

    def _create(self, chats: bool) -> None:
        with httpx.Client(base_url=self._numbering, timeout=15, **PLAIN_HTTP) as client:
            while not self._stopped.is_set():
                self._create_one(client, chats)

    def _create_one(self, client: httpx.Client, chats: bool) -> None:
        token = self.token
        path = f"/applications/{token}/chats"
        sent = time.monotonic()
        answer = client.post(path if chats else f"{path}/1/messages", json={"body": "under load"})
        self.statuses[answer.status_code] += 1
        if answer.status_code == HTTPStatus.CREATED:
            (self.chats if chats else self.messages).append(answer.json()["number"])
            if sent > self._ended.get(token, sent):
                self.after_the_end.append(token)
        else:
            time.sleep(0.01)
