"""A real Chromium's EventSource follows a chat, through nginx as it comes and without it.

nginx has its usual buffering and speaks HTTP/1.0 to us, as it does where nobody sets anything:
without `X-Accel-Buffering` it would keep small events to itself.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from local_stack.cluster.proxy import find_nginx
from local_stack.ports import choose_port
from tests.api_client import Api
from tests.children import child
from tests.chromium import PROGRAMS, require_chromium
from tests.fault.rig.linked_stack import LinkedStack
from tests.fault.rig.processes import kill_at_once, stop_in_order
from tests.fault.rig.verify import wait_until_stored
from tests.nginx import nginx
from tests.polling import eventually

SERVERS = """
    server {{
        listen 127.0.0.1:{port};
        location = /page {{ default_type text/html; return 200 "<!doctype html><title>x</title>"; }}
        location / {{ proxy_pass http://127.0.0.1:{crud_port}; }}
    }}
"""
EQUAL_WITHIN_SECONDS = 30.0
# The browser connects after two seconds.
RECONNECTED_SECONDS = 3.0

pytestmark = pytest.mark.timeout(600)


class Way(NamedTuple):
    """The page from whose origin the browser follows, and whether a proxy answers for crud."""

    page: str
    is_proxied: bool


@pytest.fixture
def ways(linked: LinkedStack, tmp_path: Path) -> Iterator[list[Way]]:
    direct = Way(f"{linked.crud_url}/docs", is_proxied=False)
    if find_nginx() is None:
        yield [direct]
        return
    port = choose_port()
    url = f"http://127.0.0.1:{port}"
    servers = SERVERS.format(port=port, crud_port=linked.crud_port)
    with nginx(tmp_path, servers, url):
        yield [direct, Way(f"{url}/page", is_proxied=True)]


class Pages:
    """Pages of one browser that follow a chat, one for each way."""

    def __init__(self, process: "subprocess.Popen[str]", count: int) -> None:
        self._process = process
        self.count = count

    def look(self) -> list[dict[str, Any]]:
        """Return what each page has seen so far."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seen: list[dict[str, Any]] = json.loads(self._process.stdout.readline())
        return seen

    def texts(self) -> list[dict[int, str]]:
        return [texts_of(seen) for seen in self.look()]


def texts_of(seen: dict[str, Any]) -> dict[int, str]:
    events = [each for each in seen["events"] if each["type"].startswith("message.")]
    return {each["data"]["number"]: each["data"]["body"] for each in events}


@contextmanager
def pages_that_follow(chromium: str, ways: list[Way], chat: str) -> Iterator[Pages]:
    pages = [way.page for way in ways]
    task = {"chromium": chromium, "pages": pages, "stream": f"{chat}/messages/stream"}
    with child(
        ["node", "follow_chat.mjs", json.dumps(task)],
        cwd=PROGRAMS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Pages(process, len(pages))


def write(api: Api, chat: str, count: int) -> None:
    """Post messages, and edit the first of them."""
    numbers = [api.message(chat, f"message at {time.time()}\nof some lines") for _ in range(count)]
    path = f"{api.crud}{chat}/messages/{numbers[0]}"
    api.wait_for_numbers(f"{chat}/messages?after={numbers[0] - 1}", numbers)
    assert api.client.put(path, json={"body": f"edited at {time.time()}"}).status_code == 200


def test_chromium_sees_everything_through_restarts(
    linked: LinkedStack, api: Api, ways: list[Way]
) -> None:
    chromium = require_chromium()
    chat = api.chat(api.application())
    api.message(chat, "the first")
    api.wait_for_numbers(f"{chat}/messages", [1])
    with pages_that_follow(chromium, ways, chat) as pages:
        assert (
            eventually(pages.texts, all, EQUAL_WITHIN_SECONDS) == [{1: "the first"}] * pages.count
        )
        write(api, chat, 10)
        expect_equal(api, chat, pages)
        kill_at_once(linked, "crud")
        wait_until_stored(linked)
        write(api, chat, 10)
        expect_equal(api, chat, pages)
        stop_in_order(linked, "crud")
        wait_until_stored(linked)
        write(api, chat, 10)
        expect_equal(api, chat, pages)
        restart_without_postgresql(linked, api)
        wait_until_stored(linked)
        write(api, chat, 10)
        expect_equal(api, chat, pages)
        for way, seen in zip(ways, pages.look(), strict=True):
            expect_everything(way, seen)


def expect_everything(way: Way, seen: dict[str, Any]) -> None:
    """Each message was created once and in order, and the stream was never reset."""
    events = seen["events"]
    created = [each["data"]["number"] for each in events if each["type"] == "message.created"]
    assert created == list(range(1, 42))
    assert {"message.updated", "ready"} <= {each["type"] for each in events}
    assert "reset" not in {each["type"] for each in events}
    assert seen["opened"] >= 4
    # A proxy answers 502 for a server that restarts, on which a browser gives up.
    assert way.is_proxied or seen["reopened"] == 0


def restart_without_postgresql(linked: LinkedStack, api: Api) -> None:
    """Kill crud, and have the browser connect again before PostgreSQL can be reached."""
    link = linked.link("crud", "postgres")
    link.refuse()
    try:
        kill_at_once(linked, "crud")
        eventually(lambda: is_alive(api), bool, EQUAL_WITHIN_SECONDS)
        time.sleep(RECONNECTED_SECONDS)
    finally:
        link.heal()


def is_alive(api: Api) -> bool:
    try:
        return api.client.get(f"{api.crud}/health/live").status_code == 200
    except httpx.TransportError:
        return False


def expect_equal(api: Api, chat: str, pages: Pages) -> None:
    """Wait until each page has the texts of the table."""
    texts = {each["number"]: each["body"] for each in api.get(f"{chat}/messages")}
    expected = [texts] * pages.count
    assert eventually(pages.texts, expected.__eq__, EQUAL_WITHIN_SECONDS, pause=0.2) == expected
