"""How soon after its 201 a message can be read, and found: by single clients that ask again."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from bench.stack import BenchStack
from bench.tools import BenchError

ASK_AGAIN_SECONDS = {"readable": 0.002, "searchable": 0.02}
BETWEEN_SECONDS = 0.02
GIVE_UP_SECONDS = 30.0


@dataclass
class Lags:
    """Milliseconds from answer to answer."""

    milliseconds: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.milliseconds)

    def percentile(self, percent: float) -> float:
        """The value that so many percent do not exceed."""
        ordered = sorted(self.milliseconds)
        if not ordered:
            raise BenchError("no lag was measured")
        return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class Client:
    """One connection to a service."""

    def __init__(self, url: str) -> None:
        self.connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        headers = {"Content-Type": "application/json"} if body else {}
        self.connection.request(method, path, json.dumps(body) if body else None, headers)
        response = self.connection.getresponse()
        return response.status, json.loads(response.read())


def measure_lags(
    stack: BenchStack, chat: str, seconds: float, *, searchable: bool
) -> dict[str, Lags]:
    """Lags of messages of our own for some seconds, under whatever load there is."""
    kinds = ["readable", "searchable"] if searchable else ["readable"]
    lags = {kind: Lags() for kind in kinds}
    failures: list[BaseException] = []
    until = time.monotonic() + seconds

    def probe(kind: str) -> None:
        try:
            while time.monotonic() < until:
                lags[kind].milliseconds.append(follow(stack, chat, [kind])[kind])
                time.sleep(BETWEEN_SECONDS)
        except (OSError, ValueError, http.client.HTTPException, BenchError) as error:
            failures.append(error)

    threads = [threading.Thread(target=probe, args=(kind,)) for kind in kinds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise BenchError(f"a probe failed: {failures[0]}")
    return lags


def follow(stack: BenchStack, chat: str, kinds: Sequence[str]) -> dict[str, float]:
    """Create one message; milliseconds from its 201 until it is each of these, in turn."""
    numbering, crud = Client(stack.numbering_url), Client(stack.crud_url)
    word = uuid4().hex
    crud.ask("GET", chat)  # connect before the clock runs
    status, created = numbering.ask("POST", f"{chat}/messages", {"body": f"probe {word}"})
    answered = time.perf_counter()
    if status != 201:
        raise BenchError(f"a creation was answered {status}")
    number = created["number"]
    is_there: dict[str, Callable[[], bool]] = {
        "readable": lambda: crud.ask("GET", f"{chat}/messages/{number}")[0] == 200,
        "searchable": lambda: found(*crud.ask("GET", f"{chat}/messages/search?keyword={word}")),
    }
    seconds = {}
    for kind in kinds:
        while not is_there[kind]():
            if time.perf_counter() - answered > GIVE_UP_SECONDS:
                raise BenchError(f"a message was not {kind} within {GIVE_UP_SECONDS:g} s")
            time.sleep(ASK_AGAIN_SECONDS[kind])
        seconds[kind] = time.perf_counter() - answered
    numbering.connection.close()
    crud.connection.close()
    return {kind: passed * 1000 for kind, passed in seconds.items()}


def found(status: int, hits: Any) -> bool:
    return status == 200 and len(hits) == 1
