"""What is answered in front of Django is what Django would answer, to the byte.

Both ways go through the real server. A GET with `If-None-Match` is left to
Django by everything in front of it; a tag that matches nothing changes nothing
else about the answer.
"""

import os
import subprocess
import sys
from collections.abc import Callable

import httpx
import pytest

from local_stack.ports import choose_port
from tests.integration.conftest import CrudServer, wait_until_live
from tests.integration.crud_rows import Database, add_chat_of

THROUGH_DJANGO = {"If-None-Match": '"no state of anything"'}
# The server, with the quick answers of one kind changed a little.
BROKEN = """
from crud_service import __main__
from crud_service.reads import {module}
{module}.{name} = {value}
__main__.main()
"""


@pytest.fixture
def chat(database: Database, application: str) -> str:
    return add_chat_of(database, application, 7, "Ruby on Rails & <b> \u2028 é")


def paths(chat: str) -> list[str]:
    application = chat.removesuffix("/chats/1")
    unknown = f"/applications/{'A' * 24}"
    found = [application, f"{application}/", chat, f"{chat}/messages/1", f"{chat}/messages/7/"]
    missing = [unknown, f"{application}/chats/2", f"{chat}/messages/8", f"{unknown}/chats/1"]
    too_large = [f"{chat}/messages/9223372036854775808", f"{application}/chats/{10**19}"]
    pages = [
        f"{chat}/messages?limit=3",
        f"{chat}/messages/?limit=3&after=2&order=desc",
        f"{chat}/messages?limit=0",
        f"{chat}/messages?after=x",
        f"{application}/chats/2/messages?limit=1",
    ]
    searches = [
        f"{chat}/messages/search?keyword=rails&limit=2",
        f"{chat}/messages/search?keyword=RUBY&highlight=true&sort=number",
        f"{chat}/messages/search?keyword=",
        f"{unknown}/chats/1/messages/search?keyword=x",
    ]
    return [*found, *missing, *too_large, *pages, *searches]


def differences(client: httpx.Client, server: CrudServer, chat: str) -> list[str]:
    """The paths that are not answered alike both ways."""
    different = []
    for path in paths(chat):
        named = {"X-Request-ID": "the-same"}
        quick = client.get(f"{server.url}{path}", headers=named)
        django = client.get(f"{server.url}{path}", headers={**named, **THROUGH_DJANGO})
        if seen(quick) != seen(django):
            different.append(path)
    return different


def seen(answer: httpx.Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """All that a client sees of an answer, but for the time of day."""
    headers = [(name, value) for name, value in answer.headers.multi_items() if name != "date"]
    return answer.status_code, answer.content, sorted(headers)


def test_both_ways_answer_the_same(
    crud_server: Callable[..., CrudServer], client: httpx.Client, chat: str
) -> None:
    assert differences(client, crud_server(), chat) == []


@pytest.mark.parametrize(
    ("module", "name", "value", "affected"),
    [
        ("resource_reads", "JSON", "('Content-Type', 'text/json')", "/messages/1"),
        ("quick_reads", "JSON", "('Content-Type', 'text/json')", "/messages?limit=3"),
        ("quick_reads", "page_headers", "lambda *_: {}", "/messages?limit=3"),
    ],
)
def test_a_quick_answer_that_differs_is_seen(
    clean_crud: dict[str, str],
    client: httpx.Client,
    chat: str,
    module: str,
    name: str,
    value: str,
    affected: str,
) -> None:
    port = choose_port()
    script = BROKEN.format(module=module, name=name, value=value)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, **clean_crud, "CRUD_PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        server = CrudServer(process, port)
        wait_until_live(server)
        assert any(path.endswith(affected) for path in differences(client, server, chat))
    finally:
        process.kill()
        process.communicate()
