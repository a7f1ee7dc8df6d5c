"""A stack without Elasticsearch, a browser, and a chat in an application of its own."""

from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest

from bench.running_stack import RunningStack
from tests.api_client import Api
from tests.chromium import require_chromium
from tests.conftest import SESSION
from tests.end_to_end.demo_page.windows import Browser, Window


@pytest.fixture(scope="session")
def demo_stack() -> Iterator[RunningStack]:
    environment = {"WITHOUT_ELASTICSEARCH": "1"}
    with RunningStack(SESSION / "demo-page", environment=environment) as running:
        yield running


@pytest.fixture
def api(demo_stack: RunningStack, client: httpx.Client) -> Api:
    return Api(client, demo_stack.crud_url, demo_stack.numbering_url)


@pytest.fixture(scope="session")
def shared_browser() -> Iterator[Browser]:
    """A browser for all tests: starting one takes several seconds of CPU."""
    with Browser(require_chromium()) as running:
        yield running


@pytest.fixture
def browser(shared_browser: Browser) -> Iterator[Browser]:
    """A browser without windows."""
    yield shared_browser
    shared_browser.close_windows()


class Chat(NamedTuple):
    """A chat: its path, and the address of the page that shows it."""

    path: str
    page: str


@pytest.fixture
def chat(demo_stack: RunningStack, api: Api) -> Chat:
    path = api.chat(api.application("Two windows"))
    application = path.rpartition("/chats/")[0]
    api.wait_for_numbers(f"{application}/chats", [1])
    return Chat(path, page_of(demo_stack, path))


def page_of(stack: RunningStack, path: str) -> str:
    _, _, token, _, number = path.split("/")
    return f"{stack.crud_url}/demo#/{token}/{number}"


def sit_down(browser: Browser, name: str, page: str, **options: object) -> Window:
    """Open a chat as somebody with a name, and wait until the window is connected."""
    window = browser.window(name, page, **options)
    window.until_connected()
    window.fill("#sender", name)
    window.call("#sender", "press", "Tab")
    return window
