"""GETs that `crud_service.reads` answers are answered byte for byte as the views answer them.

Two real servers on the same stores, one with FAST_READS=0, get the same bytes on a raw
connection; all that may differ is the date.
"""

import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import redis

from contract import keys
from tests.integration.breakable import Breakable
from tests.integration.conftest import CrudServer, crud_servers
from tests.integration.crud_rows import Database, add_attributes, add_chats, add_messages, token_of
from tests.polling import eventually

DATE = re.compile(rb"^date: [^\r]*\r\n", re.IGNORECASE | re.MULTILINE)
COUNTS = re.compile(
    rb'chat_http_requests_total\{method="(\w+)",route="(\w+)",status="(\d+)"\} (\S+)'
)
NEXT = re.compile(rb'^Link: <http://crud\.test(.*)>; rel="next"\r$', re.IGNORECASE | re.MULTILINE)
TAG = re.compile(rb"^ETag: (.*)\r$", re.IGNORECASE | re.MULTILINE)
SENDER = "Ann+%22%C3%A9%22+%5C"
NO_TOKEN = "A" * 24
METHODS = ("GET", "HEAD")
OTHER_HEADERS = r"""
fast_reads.JSON = 'Content-Type: text/json\r\n'
fast_reads.CONTENT_TYPE = 'text/plain'
"""
Route = tuple[bytes, bytes, bytes]
# The server, with the fast answers changed a little.
BROKEN = """
from crud_service import settings, wsgi, __main__
from crud_service.reads import fast_reads, thread_reads
{change}
__main__.main()
"""


class Servers(NamedTuple):
    """The two ways, and the proxy between both of them and PostgreSQL."""

    fast: CrudServer
    plain: CrudServer
    postgres: Breakable


@pytest.fixture(scope="module")
def shared_servers(crud: dict[str, str]) -> Iterator[Servers]:
    with Breakable(crud["DATABASE_URL"]) as postgres, crud_servers(crud) as start:
        fast = start(DATABASE_URL=postgres.url)
        yield Servers(fast, start(DATABASE_URL=postgres.url, FAST_READS="0"), postgres)


@pytest.fixture
def servers(shared_servers: Servers, clean_crud: dict[str, str]) -> Servers:
    """The servers that the module's tests share, on empty stores."""
    return shared_servers


@pytest.fixture
def chat(database: Database, application: str, clean_crud: dict[str, str]) -> str:
    """A chat of 7 messages and one of long ones, searchable, and some that are not stored yet."""
    from crud_service.search.feed.outbox import index_batch

    add_chats(database, application, 2)
    chat = add_messages(database, application, 7, "Ruby on Rails & <b> \u2028 é")
    add_messages(database, application, 9, "long \x01" * 10_900, chat=2)
    database.execute("UPDATE messages SET body = body || '!' WHERE number IN (2, 5)")
    add_attributes(database)
    while index_batch(database, hand_on=False):
        pass
    numbers = redis.Redis.from_url(clean_crud["REDIS_URL"])
    numbers.set(keys.chat_sequence(token_of(application)), 4)
    numbers.set(keys.message_sequence(token_of(application), 1), 9)
    numbers.close()
    return chat


def ask(server: CrudServer, method: str, path: str, *headers: str, body: str = "") -> bytes:
    """Send a request; return every byte of its answer but the date."""
    length = [f"Content-Length: {len(body)}"] if body else []
    lines = [
        *(f"{method} {path} HTTP/1.1", "Host: crud.test", "X-Request-ID: the-same"),
        *("Connection: close", *headers, *length, "", body),
    ]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return DATE.sub(b"", b"".join(iter(lambda: connection.recv(65536), b"")))


def paths(chat: str) -> dict[str, str]:
    """A path of each route, found, missing and not stored yet."""
    application = chat.removesuffix("/chats/1")
    nobody = f"/applications/{NO_TOKEN}"
    return {
        "application": application,
        "chat": chat,
        "message": f"{chat}/messages/7",
        "no application": nobody,
        "chat of no application": f"{nobody}/chats/1",
        "no chat": f"{application}/chats/5",
        "chat not stored yet": f"{application}/chats/3",
        "no message": f"{chat}/messages/10",
        "message not stored yet": f"{chat}/messages/8",
        "message of no chat": f"{application}/chats/5/messages/1",
        "message of no application": f"{nobody}/chats/1/messages/1",
        "message with attributes": f"{chat}/messages/3",
        "number too large": f"{chat}/messages/9223372036854775808",
        "number of many digits": f"{application}/chats/{10**30}",
        "percent-encoded": f"{application}/%63hats/%31",
        "encoded slash": f"{application}%2Fchats/1",
        "line end behind": f"{chat}/messages/1%0A",
        "two slashes": f"{chat}//",
        "liveness": "/health/live",
        "messages": f"{chat}/messages",
        "a page": f"{chat}/messages?limit=3&after=2&order=desc",
        "an empty page": f"{chat}/messages?after=7",
        "a page of pieces": f"{application}/chats/2/messages?limit=9",
        "messages in chunks": f"{application}/chats/2/messages",
        "messages not stored yet": f"{application}/chats/3/messages?limit=2",
        "messages of no chat": f"{application}/chats/5/messages",
        "changed messages": f"{chat}/messages?changed_after=0",
        "a page of changed messages": f"{chat}/messages?changed_after=0&limit=1",
        "changes to come": f"{chat}/messages?changed_after=9",
        "a bad change": f"{chat}/messages?changed_after=x",
        "changed and after": f"{chat}/messages?changed_after=1&after=2",
        "messages at once": f"{chat}/messages?after=6&wait=60",
        "a bad wait": f"{chat}/messages?wait=61",
        "a wait downwards": f"{chat}/messages?wait=1&order=desc",
        "active chats": f"{application}/chats?sort=-last_message&include=last_message&limit=1",
        "a bad sort": f"{application}/chats?sort=number",
        "a bad page": f"{chat}/messages?limit=0",
        "a bad query": f"{chat}/messages?limit=%ff",
        "an unknown parameter": f"{chat}/messages?limit=2&utm=%ff",
        "a search": f"{chat}/messages/search?keyword=rails&limit=2&highlight=true",
        "a search without hits": f"{chat}/messages/search?keyword=python",
        "a search of everything": f"{chat}/messages/search?keyword=r+%26&sort=number",
        "a search of a sender": f"{chat}/messages/search?keyword=r&sender={SENDER}&limit=1",
        "a search in another order": f"{chat}/messages/search?limit=3&sort=-number&keyword=RAILS",
        "a large search": f"{application}/chats/2/messages/search?keyword=long",
        "a search in no chat": f"{application}/chats/5/messages/search?keyword=x",
        "a search of messages not stored yet": f"{application}/chats/3/messages/search?keyword=x",
        "a search of no application": f"{nobody}/chats/1/messages/search?keyword=x",
        "a bad search": f"{chat}/messages/search?keyword=",
        "a search for nothing": f"{chat}/messages/search?limit=2",
        "a search with errors": f"{chat}/messages/search?limit=0&sort=x&created_after=today",
        "a bad cursor": f"{chat}/messages/search?keyword=rails&cursor=x",
        "a bad keyword": f"{chat}/messages/search?keyword=%ff",
        "many parameters": f"{chat}/messages/search?{'&' * 2000}",
        "below a search": f"{chat}/messages/search/1",
    }


def conditions(tag: str) -> list[str]:
    return [
        f"If-None-Match: {tag}",
        f'If-None-Match: "other", W/{tag}',
        f"If-None-Match: w/{tag}",
        f'If-None-Match: "other"\r\nIf-None-Match: {tag}',
        "If-None-Match: *",
        'If-None-Match: "other"',
        "If-None-Match: nonsense",
        'If-Match: "other"',
        "Cookie: csrftoken=bad; sessionid=none",
        "Accept: text/html",
        "Content-Type: application/json; charset*=x''%ff",
        "Content-Encoding: gzip",
        "Range: bytes=0-1",
    ]


def tag_of(servers: Servers, path: str) -> str:
    """The entity tag at a path, or any other if there is none."""
    found = TAG.search(ask(servers.plain, "GET", path))
    return found[1].decode() if found else '"x"'


def assert_same(servers: Servers, method: str, path: str, *headers: str, body: str = "") -> bytes:
    def both() -> list[bytes]:
        return [ask(server, method, path, *headers, body=body) for server in servers[:2]]

    def may_be_compared(answers: list[bytes]) -> bool:
        return len(set(answers)) == 1 or 503 not in map(status, answers)

    # A machine that stands still for seconds costs one or the other its answer from PostgreSQL.
    fast, plain = eventually(both, may_be_compared, 15)
    assert fast == plain, (method, path, headers)
    return fast


def assert_same_on_all_conditions(servers: Servers, path: str) -> set[int]:
    """Ask with each odd header; return the statuses."""
    return {
        status(assert_same(servers, method, path, header))
        for header in conditions(tag_of(servers, path))
        for method in METHODS
    }


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_every_route_and_outcome_is_answered_alike(
    servers: Servers, chat: str, method: str, slash: str
) -> None:
    seen = set()
    for name, path in paths(chat).items():
        before, mark, query = path.partition("?")
        asked = f"{before}{slash}{mark}{query}"
        answer = assert_same(servers, method, asked)
        seen.add(status(answer))
        if method == "GET":
            assert (b"not_stored_yet" in answer) == name.endswith("not stored yet")
    assert seen == {200, 400, 404, 422}


def test_conditions_and_odd_headers_change_nothing(servers: Servers, chat: str) -> None:
    seen = [assert_same_on_all_conditions(servers, path) for path in paths(chat).values()]
    assert set.union(*seen) == {200, 304, 400, 404, 422}


def test_a_body_changes_nothing(servers: Servers, chat: str) -> None:
    for path in paths(chat).values():
        assert_same(servers, "GET", path, "Content-Type: text/plain", body="{")


def test_pages_of_a_search_are_answered_alike(servers: Servers, chat: str) -> None:
    path, hits = paths(chat)["a search"], []
    while path:
        answer = assert_same(servers, "GET", path)
        hits.append(answer.count(b"<em>Rails</em>"))
        following = NEXT.search(answer)
        path = following[1].decode() if following else ""
    assert hits == [2, 2, 2, 1]


def test_a_large_search_is_answered_alike(servers: Servers, chat: str) -> None:
    from crud_service.api.lists.streamed_body import LARGE_BYTES

    answer = assert_same(servers, "GET", paths(chat)["a large search"])
    assert len(answer) > LARGE_BYTES
    assert answer.count(b'"number"') == 9


def test_changes_are_answered_alike(servers: Servers, chat: str) -> None:
    seen = set()
    for path in (chat.removesuffix("/chats/1"), f"{chat}/messages/7", f"{chat}/messages/8", chat):
        for body in ('{"name": "x", "body": "y"}', '{"name": "", "body": null}', "{}", "{"):
            for header in ('If-Match: "older"', "If-None-Match: *"):
                answer = assert_same(servers, "PUT", path, header, body=body)
                seen.add(status(answer))
    assert seen == {400, 404, 412, 422}
    for method in ("POST", "OPTIONS", "ODD"):
        for path in paths(chat).values():
            assert status(assert_same(servers, method, path)) in {404, 405}


def test_what_was_deleted_is_answered_alike(servers: Servers, chat: str) -> None:
    application = chat.removesuffix("/chats/1")
    long_chat = f"{application}/chats/2"
    for path in (f"{chat}/messages/3", long_chat):
        assert [status(ask(server, "DELETE", path)) for server in servers[:2]] == [204, 204]
    for path, expected in (
        (f"{chat}/messages/3", 200),
        (f"{chat}/messages", 200),
        (f"{application}/chats?include=last_message", 200),
        (long_chat, 200),
        (f"{long_chat}/messages", 410),
        (f"{long_chat}/messages?limit=2", 410),
        (f"{long_chat}/messages/1", 410),
        (f"{long_chat}/messages/search?keyword=x", 410),
        (f"{long_chat}/messages/stream", 410),
    ):
        for method in METHODS:
            assert status(assert_same(servers, method, path)) == expected, path
    body = '{"body": "y"}'
    for path, expected in ((f"{chat}/messages/3", 409), (f"{long_chat}/messages/1", 410)):
        assert status(assert_same(servers, "PUT", path, body=body)) == expected
    assert status(ask(servers.fast, "DELETE", application)) == 202
    for path in paths(chat).values():
        if path.startswith(application):
            assert status(assert_same(servers, "GET", path)) in {400, 404, 422}


def test_postgresql_unavailable_is_answered_alike(servers: Servers, chat: str) -> None:
    servers.postgres.cut()
    try:
        for path in paths(chat).values():
            for method in METHODS:
                assert_same(servers, method, path)
        assert status(ask(servers.fast, "GET", chat)) == 503
    finally:
        servers.postgres.mend()
    assert status(assert_same(servers, "GET", chat)) == 200


def test_the_metrics_name_the_same_routes(servers: Servers, chat: str) -> None:
    both = (servers.fast, servers.plain)
    before = [counts_of(server) for server in both]
    for path in paths(chat).values():
        assert_same(servers, "GET", path)

    def counted() -> list[set[Route]]:
        return [{*(counts_of(server) - old)} for server, old in zip(both, before, strict=True)]

    some = {(b"GET", b"message", b"200"), (b"GET", b"message", b"404")}
    fast, plain = eventually(counted, lambda routes: routes[0] == routes[1] > some, 60)
    assert fast == plain > some


def counts_of(server: CrudServer) -> Counter[Route]:
    """How many requests a server's metrics have counted."""
    found = COUNTS.findall(ask(server, "GET", "/metrics"))
    return Counter({(method, route, status): float(n) for method, route, status, n in found})


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (OTHER_HEADERS, ["message", "a page", "no message"]),
        ("fast_reads.if_none_match_holds = lambda header, tag: True", ["message"]),
        ("fast_reads.read_search = fast_reads.read_messages", ["a search", "a bad search"]),
        ("thread_reads.url_of = lambda request: ''", ["a page", "a search"]),
    ],
    ids=["a header", "a condition", "a search", "a link"],
)
def test_a_fast_answer_that_differs_is_seen(
    servers: Servers, clean_crud: dict[str, str], chat: str, change: str, seen: list[str]
) -> None:
    broken = CrudServer.start(("-c", BROKEN.format(change=change)), clean_crud)
    try:
        for name in seen:
            with pytest.raises(AssertionError):
                assert_same_on_all_conditions(servers._replace(fast=broken), paths(chat)[name])
    finally:
        broken.kill()


def test_an_unexpected_error_is_logged_with_its_request(
    clean_crud: dict[str, str], chat: str
) -> None:
    change = "fast_reads.read_search = lambda *arguments: 1 / 0"
    broken = CrudServer.start(("-c", BROKEN.format(change=change)), clean_crud)
    try:
        assert status(ask(broken, "GET", paths(chat)["a search"])) == 500
    finally:
        output = broken.stop()
    [logged] = [json.loads(line) for line in output.splitlines() if "ZeroDivisionError" in line]
    assert logged["request_id"] == "the-same"
