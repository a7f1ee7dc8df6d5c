"""One application at its worst with bulks: hundreds of messages with metadata in each request."""

import json
import threading
import time
from contextlib import suppress
from functools import partial

from tests.hostile.wire import Connection
from tests.tenants.conftest import IS_FULL_SIZE
from tests.tenants.hostile import Act, Hostile, side_by_side

MESSAGES = 500
AT_ONCE = 40 if IS_FULL_SIZE else 16
# How many requests of a flood each of its connections has accepted. The smaller numbers are 24,000
# messages and 12,800 chats. An application may be ahead by 1,000 at first, by 8,000 at most.
WITHOUT_END = 10**9
BULKS_EACH = WITHOUT_END if IS_FULL_SIZE else 3
CHATS_EACH = WITHOUT_END if IS_FULL_SIZE else 200
# Some 1.6 KB each: much text to store, or many numbers, which are to be kept digit by digit.
METADATA = {
    "strings": {f"key {i}": "a value of some length" for i in range(40)},
    "numbers": {"n": [1.5] * 400},
}


def bulks_of_strings(tenant: Hostile, stop: threading.Event) -> None:
    """Dozens of bulks at once, of messages with long metadata."""
    post_bulks(tenant, "strings", stop)


def bulks_of_numbers(tenant: Hostile, stop: threading.Event) -> None:
    """Dozens of bulks at once, whose metadata has hundreds of thousands of numbers."""
    post_bulks(tenant, "numbers", stop)


def bulks_of_single_letters(tenant: Hostile, stop: threading.Event) -> None:
    """Bulks of messages as short as can be, sixteen at once, one after the other."""
    content = json.dumps({"messages": [{"body": "a"}] * MESSAGES}).encode()
    path = f"{tenant.chat}/messages/bulk"
    side_by_side([post_again] * 16, tenant, path, content, BULKS_EACH, stop)


def flood_of_chats(tenant: Hostile, stop: threading.Event) -> None:
    """Chats, which have no text at all, sixty-four at once, one after the other."""
    side_by_side([post_again] * 64, tenant, f"{tenant.path}/chats", b"", CHATS_EACH, stop)


def post_again(
    tenant: Hostile, path: str, content: bytes, times: int, stop: threading.Event
) -> None:
    """Send one request as fast as it is answered, until it was accepted `times` times."""
    request, left = post(path, content), times
    while left and not stop.is_set():
        with suppress(OSError), Connection(tenant.stack.numbering_url, timeout=60) as connection:
            while left and not stop.is_set() and (reply := connection.send(request).read()):
                if reply.status == 201:
                    left -= 1
                    if content:
                        tenant.count(tenant.chat, MESSAGES)


def post_bulks(tenant: Hostile, kind: str, stop: threading.Event) -> None:
    request = bulk(tenant.chat, kind)
    side_by_side([partial(post_bulk, tenant, request)] * AT_ONCE, stop)


def post_bulk(tenant: Hostile, request: bytes, stop: threading.Event) -> None:
    """Post a bulk until it is accepted or refused; one that is refused is sent again."""
    with Connection(tenant.stack.numbering_url, timeout=300) as connection:
        while not stop.is_set():
            reply = connection.send(request).read()
            if reply is not None and reply.status == 201:
                tenant.count(tenant.chat, MESSAGES)
                return
            time.sleep(0.2)


def bulk(chat: str, kind: str) -> bytes:
    """The creation of 500 messages, as it goes over the wire."""
    message = {"body": f"one of a bulk of {kind}", "metadata": METADATA[kind]}
    content = json.dumps({"messages": [message] * MESSAGES}, separators=(",", ":")).encode()
    return post(f"{chat}/messages/bulk", content)


def post(path: str, content: bytes) -> bytes:
    """A POST of JSON, as it goes over the wire."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


BULK_ACTS: dict[str, Act] = {
    act.__name__: act
    for act in (bulks_of_strings, bulks_of_numbers, bulks_of_single_letters, flood_of_chats)
}
