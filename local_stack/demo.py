"""`make demo`: a walk through the API of a running stack, every exchange printed."""

import json
import re
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from local_stack.console import paint, say
from local_stack.failure import StackError
from local_stack.layout import Layout
from local_stack.stack import Settings

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
    crud, numbering = environment["CRUD_URL"], environment["NUMBERING_URL"]
    headers = (
        {"Authorization": f"Bearer {token}"} if (token := environment.get("ADMIN_TOKEN")) else {}
    )
    with httpx.Client(timeout=10, trust_env=False, headers=headers) as client:
        walk = Walk(client)
        title("Create an application, a chat in it, and messages")
        application = walk.send("POST", f"{crud}/applications", {"name": "Demo"})
        path = f"/applications/{application['access_token']}"
        chat = walk.send("POST", f"{numbering}{path}/chats")
        path += f"/chats/{chat['number']}"
        for body in BODIES:
            walk.send("POST", f"{numbering}{path}/messages", {"body": body})
        search_and_update(walk, f"{crud}{path}", crud)
    say_what_to_do_next(settings, f"{crud}{path}", f"{numbering}{path}")


def search_and_update(walk: "Walk", chat: str, crud: str) -> None:
    messages = f"{chat}/messages"
    title("Read them")
    walk.until(f"{messages}/{len(BODIES)}", lambda answer: "body" in answer)
    walk.send("GET", messages)
    title("Search: inside words, ignoring case and accents")
    walk.until(f"{messages}/search?keyword=cafe", lambda answer: len(answer) == 2)
    title("Update a message; the search follows")
    walk.send("PUT", f"{messages}/1", {"body": "Hello, is anybody in the library?"})
    walk.until(f"{messages}/search?keyword=librar", lambda answer: len(answer) == 1)
    walk.send("GET", f"{messages}/search?keyword=cafe")
    title("Counts, and pages of a list")
    walk.send("GET", chat)
    walk.send("GET", f"{crud}/applications?limit=3&order=desc")


def say_what_to_do_next(settings: Settings, chat: str, chat_on_numbering: str) -> None:
    """Print commands that go on in the chat of the demo, to copy."""
    crud = chat.partition("/applications/")[0]
    data = shlex.quote(json.dumps({"body": "Anybody there?"}))
    title("What next")
    say(f"  follow this chat    curl -N {chat}/messages/stream")
    say(f"  and write to it     curl {chat_on_numbering}/messages -d {data}")
    say(f"  chat in a browser   {address_of_chat_page(chat)}")
    say(f"  all of the API      {crud}/docs")
    say(f"  what is stored      {crud}/admin/")
    say(f"  what happens        {settings.command('logs')}")


def address_of_chat_page(chat: str) -> str:
    """Return the address of the chat page that shows a chat, given the chat's own."""
    crud, _, path = chat.partition("/applications/")
    token, _, number = path.partition("/chats/")
    return f"{crud}/demo#/{token}/{number}"


def read_addresses(settings: Settings) -> dict[str, str]:
    """Return the addresses of the running stack; raises StackError when there is none."""
    layout = Layout(settings.directory)
    try:
        return layout.read_env()
    except FileNotFoundError:
        pass
    if layout.supervisor():
        raise StackError(
            f"the stack in {layout.directory} is still starting: wait until it is ready"
        )
    raise StackError(
        f"no stack is running in {layout.directory}: start one with `{settings.command('run')}`"
    )


class Walk:
    def __init__(self, client: httpx.Client):
        self.client = client

    def send(self, method: str, url: str, body: Mapping[str, str] | None = None) -> Any:
        """Send one request and print it; raises StackError unless it succeeded."""
        response = self.request(method, url, body)
        show(method, url, body, response)
        if response.is_error:
            raise StackError(f"{method} {url} answered {response.status_code}")
        return response.json()

    def until(self, url: str, satisfied: Callable[[Any], bool]) -> None:
        """Poll until the answer is the expected one, then print the last exchange."""
        began = time.monotonic()
        while time.monotonic() - began < SEARCHABLE_WITHIN_SECONDS:
            response = self.request("GET", url, None)
            if response.is_success and satisfied(response.json()):
                waited = (time.monotonic() - began) * 1000
                show("GET", url, None, response, f"   (after {waited:.0f} ms)")
                return
            time.sleep(0.02)
        raise StackError(f"GET {url} did not return the expected answer in time")

    def request(self, method: str, url: str, body: Mapping[str, str] | None) -> httpx.Response:
        try:
            return self.client.request(method, url, json=body)
        except httpx.TransportError as error:
            raise StackError(f"{url} can't be reached ({error}): is the stack running?") from None


def show(
    method: str,
    url: str,
    body: Mapping[str, str] | None,
    response: httpx.Response,
    remark: str = "",
) -> None:
    """Print a request as curl would send it, and its answer."""
    verb = "" if method == "GET" else f"-X {method} "
    data = f" -d {shlex.quote(json.dumps(body, ensure_ascii=False))}" if body else ""
    say(f"{paint('$', 'dim')} {paint(f'curl {verb}{shlex.quote(url)}{data}', 'bold')}{remark}")
    colour = "red" if response.is_error else "green"
    say(paint(f"{response.status_code} {response.reason_phrase}", colour))
    answer = json.dumps(response.json(), ensure_ascii=False, indent=2)
    say(FIELD.sub(lambda name: paint(name[0], "cyan"), answer) + "\n")


def title(text: str) -> None:
    say(paint(f"── {text} ", "bold", "yellow") + "\n")
