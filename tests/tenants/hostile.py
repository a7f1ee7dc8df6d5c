"""One application at its worst: everything here is valid, or at least allowed to be sent.

Requests are written to sockets as bytes that are made once, so that a load costs its maker little.
"""

import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from urllib.parse import quote, urlsplit

import httpx
import psycopg

from bench.running_stack import RunningStack
from local_stack.ports import PLAIN_HTTP
from tests.hostile.wire import Connection
from tests.tenants.conftest import IS_FULL_SIZE

LONGEST = 65_536
COMBINING = "a" + "\u0301" * 16383 + "\u0316" * 16383
LOREM = ("lorem ipsum dolor sit amet consectetur " * 2000)[: LONGEST - 40]
SAME_LETTER = "a" * LONGEST
OVERLAPPING = quote(" ".join("a" * length for length in range(1, 22)))

# A million is what a benchmark of one's own can have; it takes minutes until all is indexed.
CHANGES = int(os.environ.get("TENANT_CHANGES") or (200_000 if IS_FULL_SIZE else 10_000))
# How many rows one statement makes.
CHANGES_AT_ONCE = 50_000
# An application may be 4 MiB ahead at most (decision 15); the smaller number is half as much
# again. Elasticsearch takes some thirty of these messages a second.
LONG_MESSAGES = 1000 if IS_FULL_SIZE else 100
# What is there to be read: a hundred pages of it are more than a process may hold.
STORED_MESSAGES = 200 if IS_FULL_SIZE else 60

Act = Callable[["Hostile", threading.Event], None]


class Hostile:
    """A chat of a hostile application; remembers what was accepted of it."""

    def __init__(self, stack: RunningStack, path: str, long_chat: str) -> None:
        """Begin a chat.

        Args:
            stack: where it happens.
            path: that of the application.
            long_chat: a chat of the application with STORED_MESSAGES of the longest, to be read.
        """
        self.stack, self.path, self.long_chat = stack, path, long_chat
        self.accepted: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.chat = self.new_chat()

    def new_chat(self) -> str:
        """Create a chat, however often it is refused for what else is sent; returns its path."""
        url = f"{self.stack.numbering_url}{self.path}/chats"
        while (answer := httpx.post(url, timeout=60, **PLAIN_HTTP)).status_code != 201:
            assert answer.status_code == 503, answer.text
            time.sleep(0.05)
        return f"{self.path}/chats/{answer.json()['number']}"

    def post(self, bodies: Iterator[str], stop: threading.Event, chat: str = "") -> None:
        """Post messages one after the other, as fast as they are answered; retry refused ones."""
        chat = chat or self.chat
        with Connection(self.stack.numbering_url, timeout=60) as connection:
            for body in bodies:
                while not stop.is_set():
                    reply = connection.send(message(chat, body)).read()
                    if reply is not None and reply.status == 201:
                        self.count(chat, 1)
                        break
                    time.sleep(0.05)

    def count(self, chat: str, accepted: int) -> None:
        """Remember how many messages more were accepted."""
        with self._lock:
            self.accepted[chat] += accepted

    def get(self, path: str, stop: threading.Event) -> None:
        """GET the same path again and again, and read every answer to its end."""
        with httpx.Client(timeout=60, **PLAIN_HTTP, base_url=self.stack.crud_url) as client:
            while not stop.is_set():
                with suppress(httpx.TransportError):
                    client.get(path)


def new_application(stack: RunningStack) -> str:
    """Create an application; returns its path."""
    created = httpx.post(
        f"{stack.crud_url}/applications", json={"name": "hostile"}, timeout=60, **PLAIN_HTTP
    )
    return f"/applications/{created.raise_for_status().json()['access_token']}"


def message(chat: str, body: str) -> bytes:
    """The creation of a message, as it goes over the wire."""
    content = json.dumps({"body": body}, ensure_ascii=False).encode()
    head = f"POST {chat}/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def repeat(body: str, times: int) -> Iterator[str]:
    """The same body, so many times, each with a number behind it."""
    return (f"{body[: LONGEST - 12]} {number}" for number in range(times))


def combining_marks(tenant: Hostile, stop: threading.Event) -> None:
    """Messages of the longest runs of combining marks, and searches through them."""
    tenant.post(iter([COMBINING] * 40), stop)
    keyword = quote("a" + "\u0301" * 100)
    tenant.get(f"{tenant.chat}/messages/search?keyword={keyword}&highlight=true&limit=1000", stop)


def long_messages(tenant: Hostile, stop: threading.Event) -> None:
    """Messages of the longest, one after the other."""
    tenant.post(repeat(LOREM, LONG_MESSAGES), stop)


def flood_of_long_messages(tenant: Hostile, stop: threading.Event) -> None:
    """Messages of the longest as fast as they are answered, sixty-four at once."""
    bodies = [repeat(LOREM, -(-LONG_MESSAGES // 64)) for _ in range(64)]
    side_by_side([partial(tenant.post, each) for each in bodies], stop)


def highlighted_searches(tenant: Hostile, stop: threading.Event) -> None:
    """Searches over dozens of the longest messages, every hit highlighted, four at once."""
    path = f"{tenant.long_chat}/messages/search?keyword=lorem&limit=1000&highlight=true"
    side_by_side([tenant.get] * 4, path, stop)


def overlapping_highlights(tenant: Hostile, stop: threading.Event) -> None:
    """One letter 65,536 times, searched for by 21 parts that all overlap."""
    tenant.post(iter([SAME_LETTER] * 3), stop)
    path = f"{tenant.chat}/messages/search?keyword={OVERLAPPING}&highlight=true"
    side_by_side([tenant.get] * 4, path, stop)


def stalled_pages(tenant: Hostile, stop: threading.Event) -> None:
    """A hundred connections that ask for a page of megabytes and read nothing of it."""
    with stalled(tenant, f"{tenant.long_chat}/messages?limit=1000", 100):
        stop.wait()


def stalled_lists(tenant: Hostile, stop: threading.Event) -> None:
    """Two hundred connections that ask for a complete list and read nothing of it."""
    with stalled(tenant, f"{tenant.long_chat}/messages", 200):
        stop.wait()


def unfinished_uploads(tenant: Hostile, stop: threading.Event) -> None:
    """Four hundred bodies of almost a mebibyte that never end, on each service."""
    head = f"POST {tenant.chat}/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n"
    part = head.encode() + b'{"body": "' + b"x" * 1_000_000
    with ExitStack() as open_connections:
        for url in (tenant.stack.numbering_url, tenant.stack.crud_url):
            for _ in range(400):
                connection = open_connections.enter_context(silent_connection(url))
                with suppress(OSError):
                    connection.sendall(part)
        stop.wait()


def tiny_chunks(tenant: Hostile, stop: threading.Event) -> None:
    """Bodies in chunks of one byte each, eight at once on each service."""
    head = f"POST {tenant.chat}/messages HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    request = head.encode() + b"1\r\nx\r\n" * 200_000 + b"0\r\n\r\n"
    urls = (tenant.stack.numbering_url, tenant.stack.crud_url)
    send = [partial(send_again, url) for url in urls]
    side_by_side(send * 8, request, stop)


def many_header_lines(tenant: Hostile, stop: threading.Event) -> None:
    """Heads of thousands of empty header lines, eight at once on each service."""
    lines = "a:\r\n" * 13_000
    request = f"POST {tenant.chat}/messages HTTP/1.1\r\nHost: x\r\n{lines}\r\n"
    urls = (tenant.stack.numbering_url, tenant.stack.crud_url)
    send = [partial(send_again, url) for url in urls]
    side_by_side(send * 8, request.encode(), stop)


def long_content_types(tenant: Hostile, stop: threading.Event) -> None:
    """Content types of thousands of parameters, no two alike, on each service."""
    parameters = "".join(f";{number:x}=ab" for number in range(8000))
    for count in range(300):
        if stop.is_set():
            return
        for url in (tenant.stack.numbering_url, tenant.stack.crud_url):
            head = f"POST {tenant.chat}/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n"
            head += f"Content-Type: application/json;count={count}{parameters}\r\n\r\n"
            with suppress(OSError), Connection(url, timeout=60) as connection:
                connection.send(head.encode() + b'{"body": ""}').read()


def send_again(url: str, request: bytes, stop: threading.Event) -> None:
    """Send the same bytes again and again, each time on a connection of its own."""
    while not stop.is_set():
        with suppress(OSError), Connection(url, timeout=60) as connection:
            connection.send(request).read()


def readiness_probes(tenant: Hostile, stop: threading.Event) -> None:
    """Asks both services without pause whether they are ready, forty at once."""
    side_by_side([ask_for_readiness] * 40, tenant.stack, stop)


def ask_for_readiness(stack: RunningStack, stop: threading.Event) -> None:
    """Ask both services for their readiness again and again."""
    request = b"GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"
    urls = (stack.crud_url, stack.numbering_url)
    with ExitStack() as connections:
        asked = [connections.enter_context(Connection(url, timeout=60)) for url in urls]
        while not stop.is_set():
            for connection in asked:
                connection.send(request).read()


def failed_logins(tenant: Hostile, stop: threading.Event) -> None:
    """Logins to the operators' site with wrong passwords, sixteen at once."""
    side_by_side([try_passwords] * 16, tenant.stack.crud_url, stop)


def try_passwords(url: str, stop: threading.Event) -> None:
    """Log in with a wrong password again and again."""
    while not stop.is_set():
        with (
            suppress(httpx.TransportError),
            httpx.Client(timeout=60, **PLAIN_HTTP, base_url=url) as client,
        ):
            client.get("/admin/login/")
            token = client.cookies.get("csrftoken", "")
            form = {"username": "admin", "password": "wrong", "csrfmiddlewaretoken": token}
            client.post("/admin/login/", data=form, headers={"Origin": url})


def many_changes(tenant: Hostile, stop: threading.Event) -> None:
    """Thousands of changes that wait to be indexed: rows that PostgreSQL makes."""
    number = int(tenant.new_chat().rpartition("/")[2])
    token = tenant.path.rpartition("/")[2]
    with psycopg.connect(tenant.stack.environment["DATABASE_URL"], autocommit=True) as connection:
        chat_id = wait_for_chat(connection, token, number)
        for first in range(1, CHANGES + 1, CHANGES_AT_ONCE):
            if stop.is_set():
                break
            last = min(first + CHANGES_AT_ONCE - 1, CHANGES)
            rows = connection.execute(FILL, (chat_id, first, last)).rowcount
            connection.execute(COUNT, (rows, chat_id))
            tenant.accepted[f"{tenant.path}/chats/{number}"] += rows


FIND = """
SELECT c.id FROM chats c JOIN applications a ON a.id = c.application_id
WHERE a.access_token = %s AND c.number = %s
"""
FILL = """
INSERT INTO messages (chat_id, number, body)
SELECT %s, number, 'change number ' || number FROM generate_series(%s::bigint, %s::bigint) number
"""
COUNT = "UPDATE chats SET message_count = message_count + %s WHERE id = %s"


def wait_for_chat(connection: psycopg.Connection, token: str, number: int) -> int:
    """The id of a chat, once it is stored."""
    while not (row := connection.execute(FIND, (token, number)).fetchone()):
        time.sleep(0.05)
    return int(row[0])


def unknown_tokens(tenant: Hostile, stop: threading.Event) -> None:
    """Creations for applications that nobody made, and for chats that this one does not have."""
    side_by_side([guess] * 8, tenant, stop)


def guess(tenant: Hostile, stop: threading.Event) -> None:
    """Post to one made-up path after the other."""
    for count in range(10**9):
        if stop.is_set():
            return
        made_up = f"/applications/{count % 10**12:012}{id(stop) % 10**12:012}/chats"
        absent = f"{tenant.path}/chats/{10**6 + count}/messages"
        with suppress(OSError), Connection(tenant.stack.numbering_url, timeout=60) as connection:
            for path in (made_up, absent):
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n"
                connection.send(head.encode() + b'{"body":"x"}').read()


def side_by_side(acts: Sequence[Callable[..., None]], *arguments: object) -> None:
    """Run functions in threads of their own until all have ended."""
    threads = [threading.Thread(target=act, args=arguments) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def stalled(tenant: Hostile, path: str, connections: int) -> Iterator[None]:
    """Connections that have asked for a path and take nothing of the answer."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with ExitStack() as open_connections:
        for _ in range(connections):
            connection = open_connections.enter_context(silent_connection(tenant.stack.crud_url))
            with suppress(OSError):
                connection.sendall(request)
        yield


@contextmanager
def silent_connection(url: str) -> Iterator[socket.socket]:
    """A connection with the smallest window, from which nothing is read."""
    parts = urlsplit(url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(2)
        with suppress(OSError):
            connection.connect((parts.hostname, parts.port))
        yield connection


ACTS: dict[str, Act] = {
    act.__name__: act
    for act in (
        combining_marks,
        long_messages,
        flood_of_long_messages,
        highlighted_searches,
        overlapping_highlights,
        stalled_pages,
        stalled_lists,
        unfinished_uploads,
        tiny_chunks,
        many_header_lines,
        long_content_types,
        readiness_probes,
        failed_logins,
        many_changes,
        unknown_tokens,
    )
}
