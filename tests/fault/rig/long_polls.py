"""Clients that read chats by lists that wait, and expect each number once, in order."""

import threading
import time
from collections.abc import Sequence
from typing import Self

import httpx

from local_stack.ports import PLAIN_HTTP
from tests.polling import wait_until

WAIT_SECONDS = 2


class LongPolls:
    """A thread for each chat; it asks again whenever it got no answer."""

    def __init__(self, url: str, chats: Sequence[str]) -> None:
        self.complaints: list[str] = []
        self._url = url
        self._highest = dict.fromkeys(chats, 0)
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._follow, args=(chat,)) for chat in chats]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_until_at(self, chat: str, number: int, seconds: float) -> None:
        """Wait until a chat has been read up to a number."""
        wait_until(lambda: self._highest[chat] >= number, seconds, lambda: str(self._highest))

    def _follow(self, chat: str) -> None:
        with httpx.Client(base_url=self._url, timeout=15, **PLAIN_HTTP) as client:
            while not self._stopping.is_set():
                try:
                    self._read(client, chat)
                except httpx.TransportError:
                    time.sleep(0.1)

    def _read(self, client: httpx.Client, chat: str) -> None:
        highest = self._highest[chat]
        query = {"after": highest, "wait": WAIT_SECONDS, "limit": 1000}
        answer = client.get(f"{chat}/messages", params=query)
        if answer.status_code != 200:
            if answer.status_code not in (404, 503):
                self.complaints.append(f"{answer.status_code} {answer.text}")
            time.sleep(0.1)
            return
        numbers = [message["number"] for message in answer.json()]
        if numbers != list(range(highest + 1, highest + 1 + len(numbers))):
            self.complaints.append(f"{chat} after {highest}: {numbers}")
        self._highest[chat] = highest + len(numbers)
