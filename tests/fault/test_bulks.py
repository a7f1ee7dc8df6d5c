"""Bulks while processes are killed: each comes out whole or not at all."""

import itertools
import random
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import httpx
import pytest

from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import kill_at_once
from tests.fault.rig.verify import wait_until_stored

SIZE, CLIENTS, KILLS = 100, 6, 6

pytestmark = pytest.mark.timeout(240)


class Sent(NamedTuple):
    """A bulk: the bodies of its messages begin with its name; `first` is 0 without an answer."""

    name: str
    first: int


class Sender:
    """Sends bulks to a chat until `stop` is called."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._names = itertools.count()
        self._stopped = threading.Event()
        self.answered = threading.Event()

    def send(self, _client: int) -> list[Sent]:
        sent = []
        with httpx.Client(timeout=20, **PLAIN_HTTP) as client:
            while not self._stopped.is_set():
                name = str(next(self._names))
                sent.append(Sent(name, self._post(client, name)))
        return sent

    def _post(self, client: httpx.Client, name: str) -> int:
        messages = [{"body": f"{name} {position}"} for position in range(SIZE)]
        try:
            answer = client.post(self._url, json={"messages": messages})
        except httpx.TransportError:
            time.sleep(0.05)
            return 0
        assert answer.status_code in {201, 503}, answer.text
        if answer.status_code != 201:
            return 0
        self.answered.set()
        return int(answer.json()["first_number"])

    def stop(self) -> None:
        self._stopped.set()


def test_a_bulk_is_whole_or_not_there(linked: LinkedStack, chance: random.Random) -> None:
    with httpx.Client(timeout=30, **PLAIN_HTTP) as client:
        api = Api(client, linked.crud_url, linked.numbering_url)
        chat = api.chat(api.application())
        sender = Sender(f"{api.numbering}{chat}/messages/bulk")
        with ThreadPoolExecutor(CLIENTS) as threads:
            clients = [threads.submit(sender.send, number) for number in range(CLIENTS)]
            for name in [chance.choice(("numbering", "valkey")) for _ in range(KILLS)]:
                time.sleep(0.2 + chance.random())
                kill_at_once(linked, name)
            # It may be the first: a service that is killed each second has hardly started by then.
            sender.answered.wait(60)
            time.sleep(0.5)
            sender.stop()
            sent = [bulk for done in clients for bulk in done.result()]
        wait_until_stored(linked)
        stored = {each["number"]: each["body"] for each in api.get(f"{chat}/messages")}
    assert sorted(stored) == list(range(1, len(stored) + 1))
    numbers = defaultdict(list)
    for number, body in sorted(stored.items()):
        name, _, position = body.partition(" ")
        numbers[name].append((number, int(position)))
    for first, found in ((found[0][0], found) for found in numbers.values()):
        assert found == [(first + position, position) for position in range(SIZE)]
    answered = {bulk.name: bulk.first for bulk in sent if bulk.first}
    assert answered
    assert {name: numbers[name][0][0] for name in answered} == answered
    assert numbers.keys() <= {bulk.name for bulk in sent}
