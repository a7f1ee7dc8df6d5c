"""What the attacks are aimed at: one application with a chat and a message, watched closely."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from bench.running_stack import RunningStack
from local_stack.ports import PLAIN_HTTP
from tests.api_client import Api
from tests.hostile.wire import Reply, check_problem, exchange, request
from tests.polling import eventually

BEFORE = "before"


@dataclass(frozen=True)
class Door:
    """A way in for text: where it is sent, and as which field."""

    url: str
    method: str
    path: str
    field: str
    accepted: int

    def send(self, body: bytes, *lines: str | bytes, query: str = "") -> Reply:
        """Send a body with some header lines."""
        return exchange(self.url, request(self.method, self.path + query, body, *lines))

    def send_json(self, template: bytes | str) -> Reply:
        """Send JSON in which FIELD stands for the name of the field."""
        raw = template if isinstance(template, bytes) else template.encode()
        body = raw.replace(b"FIELD", self.field.encode())
        return self.send(body, "Content-Type: application/json")


@dataclass
class Ground:
    """The application under attack, and what must not have changed in it."""

    stack: RunningStack
    api: Api
    application: str
    chat: str
    expected: Iterator[int] = field(default_factory=lambda: itertools.count(2))

    @property
    def crud(self) -> str:
        return self.stack.crud_url

    @property
    def numbering(self) -> str:
        return self.stack.numbering_url

    @property
    def message(self) -> str:
        return f"{self.chat}/messages/1"

    @property
    def doors(self) -> dict[str, Door]:
        """Every way in for text."""
        messages = f"{self.chat}/messages"
        return {
            "create message": Door(self.numbering, "POST", messages, "body", 201),
            "edit message": Door(self.crud, "PUT", self.message, "body", 200),
            "rename application": Door(self.crud, "PUT", self.application, "name", 200),
            "create application": Door(self.crud, "POST", "/applications", "name", 201),
        }

    def applications(self) -> int:
        """How many applications there are."""
        answer = self.api.client.get(f"{self.crud}/applications?limit=1")
        return int(answer.headers["X-Total-Count"])

    def check_untouched(self, applications: int) -> None:
        """Nothing was stored, changed or numbered: the next number is the next one."""
        self.check_created(0)
        assert self.api.get(self.message)["body"] == BEFORE
        assert self.api.get(self.application)["name"] == BEFORE
        assert self.applications() == applications

    def check_created(self, messages: int) -> None:
        """So many messages were numbered since the last look, and not one more."""
        for _ in range(messages):
            next(self.expected)
        number, expected = self.api.message(self.chat, "the next"), next(self.expected)
        self.expected = itertools.count(number + 1)  # one failure is not to be every test's
        assert number == expected

    def restore(self) -> None:
        """Undo what came in through the doors that change something."""
        for door in (self.doors["edit message"], self.doors["rename application"]):
            assert door.send_json(json.dumps({"FIELD": BEFORE})).status == 200

    def refuse(self, send: Callable[[Door], Reply], *statuses: int) -> None:
        """Every door refuses with one of the statuses, and nothing happens."""
        applications = self.applications()
        for door in self.doors.values():
            check_problem(send(door), *statuses)
        self.check_untouched(applications)


@pytest.fixture(scope="module")
def ground(stack: RunningStack) -> Iterator[Ground]:
    with httpx.Client(timeout=30, **PLAIN_HTTP) as client:
        api = Api(client, stack.crud_url, stack.numbering_url)
        application = api.application(BEFORE)
        chat = api.chat(application)
        assert api.message(chat, BEFORE) == 1
        eventually(lambda: api.numbers(f"{chat}/messages"), lambda it: it == [1], 30)
        yield Ground(stack, api, application, chat)
