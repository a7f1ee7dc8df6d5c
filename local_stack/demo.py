"""`make demo`: a walk through the API of a running stack, every exchange printed.

It calls the client package for Python, as a program of yours would.
"""

import json
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import httpx

from local_stack.applications import ROOT
from local_stack.console import paint, say
from local_stack.failure import StackError
from local_stack.layout import Layout
from local_stack.stack import Settings
from local_stack.status import find_supervisor

# The package belongs to this tree; users install it, the stack does not.
sys.path.insert(0, str(ROOT / "clients" / "python"))

from chat_backend_client import ApplicationClient, ChatClient, Client, NoAnswer, Problem, Retries

T = TypeVar("T")

STORED_WITHIN_SECONDS = 10.0
SEARCHABLE_WITHIN_SECONDS = 30.0
# The names in printed JSON; a quote inside a value is escaped.
FIELD = re.compile(r'^ *"\w+"(?=:)', re.MULTILINE)
BODIES = (
    "Hello, is anybody in the Café?",
    "Ruby on Rails, or Django?",
    "Django. See you at the café tomorrow!",
)


def demo(settings: Settings) -> None:
    """Create an application, a chat and messages; list, search, update, search again."""
    environment = read_addresses(settings)
    walk = Walk()
    with Client(
        environment["CRUD_URL"],
        environment["NUMBERING_URL"],
        admin_token=environment.get("ADMIN_TOKEN"),
        retries=Retries(seconds=STORED_WITHIN_SECONDS),
        http=walk.http,
    ) as client:
        title("Create an application, a chat in it, and messages")
        created = walk.step(lambda: client.create_application("Demo"))
        application = client.application(created["access_token"])
        chat = application.chat(walk.step(application.create_chat)["number"])
        for body in BODIES:
            walk.step(partial(chat.create_message, body))
        search_and_update(walk, chat)
        count_and_list(walk, client, application, chat)
    title("What next")
    say_what_to_do_next(environment, application.access_token, chat.number)
    say(f"  what happens        {settings.command('logs')}")


def search_and_update(walk: "Walk", chat: ChatClient) -> None:
    title("Read them")
    walk.step(lambda: chat.message(len(BODIES), until_stored=True))
    walk.step(lambda: list(chat.messages()))
    title("Search: inside words, ignoring case and accents")
    walk.until(lambda: list(chat.search("cafe")), lambda found: len(found) == 2)
    title("Update a message; the search follows")
    walk.step(lambda: chat.update_message(1, body="Hello, is anybody in the library?"))
    walk.until(lambda: list(chat.search("librar")), lambda found: len(found) == 1)
    walk.step(lambda: list(chat.search("cafe")))


def count_and_list(
    walk: "Walk", client: Client, application: ApplicationClient, chat: ChatClient
) -> None:
    title("Counts, and pages of a list")
    walk.step(chat.read)
    walk.step(application.read)
    walk.step(lambda: next(client.applications(order="desc", page_size=3).pages()))


def say_what_to_do_next(environment: Mapping[str, str], token: str, number: int) -> None:
    """Print commands that go on in the chat of the demo, to copy."""
    crud, messages = environment["CRUD_URL"], f"/applications/{token}/chats/{number}/messages"
    data = shlex.quote(json.dumps({"body": "Anybody there?"}))
    say(f"  follow this chat    curl -N {crud}{messages}/stream")
    say(f"  and write to it     curl {environment['NUMBERING_URL']}{messages} -d {data}")
    say(f"  chat in a browser   {crud}/demo#/{token}/{number}")
    say(f"  all of the API      {crud}/docs")
    say(f"  what is stored      {crud}/admin/")


def read_addresses(settings: Settings) -> dict[str, str]:
    """Return the addresses of the running stack; raises StackError when there is none."""
    layout = Layout(settings.directory)
    try:
        return layout.read_env()
    except FileNotFoundError:
        find_supervisor(settings)
        raise StackError(
            f"the stack in {layout.directory} is still starting: wait until it is ready"
        ) from None


class Walk:
    """Takes steps with the client, and prints the last exchange of each."""

    def __init__(self) -> None:
        hooks = {"response": [self._note]}
        self.http = httpx.Client(timeout=10, trust_env=False, event_hooks=hooks)
        self._last: httpx.Response | None = None

    def step(self, call: Callable[[], T]) -> T:
        """Return what a call returns, and print its exchange; raises StackError if it fails."""
        result = self._take(call)
        self._show()
        return result

    def until(
        self, call: Callable[[], Sequence[T]], satisfied: Callable[[Sequence[T]], bool]
    ) -> None:
        """Poll until a call returns what is expected, then print its exchange.

        Raises StackError if it fails, or never returns that.
        """
        began = time.monotonic()
        while not satisfied(found := self._take(call)):
            if time.monotonic() - began > SEARCHABLE_WITHIN_SECONDS:
                raise StackError(f"a search did not find what it should in time, but {found}")
            time.sleep(0.02)
        self._show(f"   (after {(time.monotonic() - began) * 1000:.0f} ms)")

    def _take(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except NoAnswer as error:
            raise StackError(f"no answer ({error}): is the stack running?") from None
        except Problem as problem:
            self._show()
            raise StackError(f"the last request failed: {problem}") from None

    def _note(self, response: httpx.Response) -> None:
        self._last = response

    def _show(self, remark: str = "") -> None:
        if self._last is not None:
            show(self._last, remark)


def show(response: httpx.Response, remark: str = "") -> None:
    """Print a request as curl would send it, and its answer."""
    request = response.request
    verb = "" if request.method == "GET" else f"-X {request.method} "
    body = request.content.decode()
    data = f" -d {shlex.quote(body)}" if body else ""
    url = shlex.quote(str(request.url))
    say(f"{paint('$', 'dim')} {paint(f'curl {verb}{url}{data}', 'bold')}{remark}")
    colour = "red" if response.is_error else "green"
    say(paint(f"{response.status_code} {response.reason_phrase}", colour))
    try:
        answer = json.dumps(response.json(), ensure_ascii=False, indent=2)
    except ValueError:  # not ours: a proxy's
        answer = response.text
    say(FIELD.sub(lambda name: paint(name[0], "cyan"), answer) + "\n")


def title(text: str) -> None:
    say(paint(f"── {text} ", "bold", "yellow") + "\n")
