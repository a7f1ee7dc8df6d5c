"""Searches during a fault: each has to be answered, by whichever store there is."""

import time

import httpx

from bench.running_stack import RunningStack
from local_stack.ports import PLAIN_HTTP


def searched_for(seconds: float, stack: RunningStack, application: str) -> list[str]:
    """Search again and again for some time; which stores answered, in order."""
    backends = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        backends.append(search(stack, application))
        time.sleep(0.05)
    return backends


def search(stack: RunningStack, application: str) -> str:
    """Which store answered a search."""
    url = f"{stack.crud_url}{application}/chats/1/messages/search"
    response = httpx.get(url, params={"keyword": "a"}, timeout=20, **PLAIN_HTTP)
    assert response.status_code == 200, response.text
    return str(response.headers["x-search-backend"])
