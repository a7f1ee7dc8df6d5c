"""`make demo`: a walk through the API of a running stack, every exchange printed."""

import json
import shlex
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from local_stack.console import say
from local_stack.failure import StackError
from local_stack.layout import Layout
from local_stack.stack import Settings

SEARCHABLE_WITHIN_SECONDS = 30.0
BODIES = (
    "Hello, is anybody in the Café?",
    "Ruby on Rails, or Django?",
    "Django. See you at the café tomorrow!",
)


def demo() -> None:
    """Create an application, a chat and messages; list, search, update, search again."""
    environment = read_addresses()
    crud, numbering = environment["CRUD_URL"], environment["NUMBERING_URL"]
    headers = (
        {"Authorization": f"Bearer {token}"} if (token := environment.get("ADMIN_TOKEN")) else {}
    )
    with httpx.Client(timeout=10, trust_env=False, headers=headers) as client:
        walk = Walk(client)
        application = walk.send("POST", f"{crud}/applications", {"name": "Demo"})
        path = f"/applications/{application['access_token']}"
        chat = walk.send("POST", f"{numbering}{path}/chats")
        path += f"/chats/{chat['number']}"
        for body in BODIES:
            walk.send("POST", f"{numbering}{path}/messages", {"body": body})
        search_and_update(walk, f"{crud}{path}", crud)


def search_and_update(walk: "Walk", chat: str, crud: str) -> None:
    messages = f"{chat}/messages"
    walk.until(f"{messages}/{len(BODIES)}", lambda answer: "body" in answer)
    walk.send("GET", messages)
    walk.until(f"{messages}/search?keyword=cafe", lambda answer: len(answer) == 2)
    walk.send("PUT", f"{messages}/1", {"body": "Hello, is anybody in the library?"})
    walk.until(f"{messages}/search?keyword=librar", lambda answer: len(answer) == 1)
    walk.send("GET", f"{messages}/search?keyword=cafe")
    walk.send("GET", chat)
    walk.send("GET", f"{crud}/applications?limit=3&order=desc")


def read_addresses() -> dict[str, str]:
    """Return the addresses of the running stack; raises StackError when there is none."""
    layout = Layout(Settings.from_environment().directory)
    try:
        return layout.read_env()
    except FileNotFoundError:
        raise StackError(
            f"no stack is running in {layout.directory}: start one with `make run`"
        ) from None


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
    say(f"$ curl {verb}{shlex.quote(url)}{data}{remark}")
    answer = json.dumps(response.json(), ensure_ascii=False, indent=2)
    say(f"{response.status_code} {response.reason_phrase}\n{answer}\n")
