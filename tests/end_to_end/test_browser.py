"""A real Chromium on /docs of both services: try an operation, see its response.

Screenshots stay in `.local-test/screenshots/`.
"""

import json
import re
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench.running_stack import RunningStack
from local_stack.applications import ROOT
from tests.api_client import Api
from tests.chromium import PROGRAMS, require_chromium

SCREENSHOTS = ROOT / ".local-test" / "screenshots"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def chromium() -> str:
    return require_chromium()


def try_out(chromium: str, url: str, screenshot: str, **task: Any) -> dict[str, Any]:
    """Execute one operation on a page of documentation; return what the page showed."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    task |= {"chromium": chromium, "url": url, "screenshot": str(SCREENSHOTS / screenshot)}
    done = subprocess.run(
        ["node", "try_docs.mjs", json.dumps(task)],
        cwd=PROGRAMS,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def foreign(requests: list[str], url: str) -> list[str]:
    """Return requests that did not go to the page's own origin."""
    own = urlsplit(url)[:2]
    return [each for each in requests if urlsplit(each)[:2] != own and not each.startswith("data:")]


def test_an_application_is_created_on_the_docs_page_of_crud(
    chromium: str, stack: RunningStack
) -> None:
    url = f"{stack.crud_url}/docs"
    seen = try_out(
        chromium, url, "docs-crud.png", method="post", path="/applications", parameters={}
    )
    assert seen["status"] == "201", seen
    assert re.search(r'"access_token": "[A-Za-z0-9]{24}"', seen["answer"])
    assert foreign(seen["requests"], url) == []
    assert seen["errors"] == []


def test_a_chat_is_created_on_the_docs_page_of_numbering(
    chromium: str, stack: RunningStack, api: Api
) -> None:
    url = f"{stack.numbering_url}/docs"
    token = api.application("Tried out").rpartition("/")[2]
    seen = try_out(
        chromium,
        url,
        "docs-numbering.png",
        method="post",
        path="/applications/{access_token}/chats",
        parameters={"access_token": token},
    )
    assert seen["status"] == "201", seen
    assert f'"access_token": "{token}"' in seen["answer"]
    assert foreign(seen["requests"], url) == []
    assert seen["errors"] == []
