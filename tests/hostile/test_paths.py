"""Unexpected paths, methods and headers: 404, 405 or ignored, on both ports."""

import json

import pytest

from tests.hostile.conftest import Ground
from tests.hostile.wire import Connection, Reply, check_problem, exchange, request

NO_NUMBERS = [
    *("0", "00", "01", "+1", "-1", "1.0", "1_0", "1e0", "0x1", "1a", "a", "NaN", "null", "~"),
    *("%201", "1%20", "%09", "%0A", "1%0A", "1%00", "%00", "%C0%B1", "%FF", "1;a=b", "1,2", "1'"),
    *("%D9%A1", "%EF%BC%91", "%C2%B2", "%E2%91%A0", "%F0%9D%9F%8F"),  # digits of other scripts
    *("9223372036854775808", "18446744073709551617", "9" * 400, "1" * 20_000),
    *("..", "%2E%2E", ".", "*", "%3Cscript%3E", "$%7Bx%7D", "%25d", "%31%30%30x"),
]
NO_TOKENS = [
    *("A", "A" * 23, "A" * 25, "A" * 4000, "", "%00" * 24, "A" * 23 + "-", "A" * 23 + "%0A"),
    *("%E2%80%AE" * 24, "%D9%A1" * 24, "%EF%BC%A1" * 24, "'%20OR%201=1--", "..%2F..%2Fetc"),
]
NO_PATHS = [
    *("//applications", "/applications//", "/./applications", "/applications/..", "/%61/"),
    *("/Applications", "/applications;a=b", "/applications%3Fname=x", "/applications%23"),
    *("/applications\\", "/internal", "/internal/sequences", "/static/", "/.env", "/.git/config"),
    *("/static/../settings.py", "/static/%2e%2e/x", "/static/%00", "/%2e%2e/%2e%2e/etc/passwd"),
    *("//evil.example/applications", "/docs/../internal", "/a%0d%0aSet-Cookie:%20x=y", "/%zz"),
    *("/%", "/" + "a/" * 10_000, "/" + "%41" * 10_000),
]
JUNK_METHODS = ["TRACE", "OPTIONS", "DELETE", "PATCH", "MKCOL", "PURGE", "LINK"]


def on_both(ground: Ground, method: str, path: str) -> list[Reply]:
    """Return the responses of both services to a request with a valid body."""
    body = b'{"body":"x","name":"x"}'
    raw = request(method, path, body, "Content-Type: application/json")
    return [exchange(url, raw) for url in (ground.crud, ground.numbering)]


@pytest.mark.parametrize("number", NO_NUMBERS, ids=lambda it: it[:20])
def test_an_invalid_number_is_404_everywhere(ground: Ground, number: str) -> None:
    applications = ground.applications()
    for path in (
        f"{ground.application}/chats/{number}/messages",
        f"{ground.chat}/messages/{number}",
    ):
        for method in ("GET", "PUT", "POST"):
            for reply in on_both(ground, method, path):
                check_problem(reply, 404)
                assert b"<script" not in reply.body
    ground.check_untouched(applications)


@pytest.mark.parametrize("token", NO_TOKENS, ids=lambda it: it[:20])
def test_an_invalid_token_is_404_everywhere(ground: Ground, token: str) -> None:
    applications = ground.applications()
    for path in (f"/applications/{token}/chats", f"/applications/{token}/chats/1/messages"):
        for method in ("GET", "POST"):
            for reply in on_both(ground, method, path):
                check_problem(reply, 404)
    ground.check_untouched(applications)


@pytest.mark.parametrize("slash", ["%2F", "%2f"])
def test_an_encoded_slash_separates_nothing(ground: Ground, slash: str) -> None:
    """It is a character of the name or number that it stands in (RFC 3986, 2.2)."""
    applications = ground.applications()
    chat, application = (
        path.replace("/", slash).replace(slash, "/", 1)
        for path in (ground.chat, ground.application)
    )
    for path in (
        *(application, chat, f"{ground.application}{slash}chats", f"{ground.chat}{slash}"),
        *(f"{ground.chat}{slash}messages", f"{ground.chat}/messages{slash}"),
        *(f"{ground.message}{slash}", f"{ground.chat}/messages{slash}search?keyword=a"),
    ):
        for method in ("GET", "PUT", "POST", "DELETE"):
            for reply in on_both(ground, method, path):
                check_problem(reply, 404)
    ground.check_untouched(applications)


@pytest.mark.parametrize("path", NO_PATHS, ids=lambda it: it[:24])
def test_an_unknown_path_is_404(ground: Ground, path: str) -> None:
    applications = ground.applications()
    for method in ("GET", "POST"):
        for reply in on_both(ground, method, path):
            check_problem(reply, 404, *([405] if path.startswith("/static/") else []))
            assert "set-cookie" not in reply.headers
            assert len(json.loads(reply.body)["instance"]) <= 512
    ground.check_untouched(applications)


@pytest.mark.parametrize("method", JUNK_METHODS)
def test_an_unsupported_method_is_405_with_allow(ground: Ground, method: str) -> None:
    applications = ground.applications()
    paths = ("/health/live", f"{ground.chat}/messages")
    for path in paths:
        for reply in on_both(ground, method, path):
            check_problem(reply, 405)
            assert method not in reply.headers["allow"]
    ground.check_untouched(applications)


@pytest.mark.parametrize("method", ["get", "GETT", "X" * 5000, "CONNECT", "<script>", "G\x7fT"])
def test_an_invalid_method_does_nothing(ground: Ground, method: str) -> None:
    """`get` may also be read as GET; the others are refused."""
    applications = ground.applications()
    for url in (ground.crud, ground.numbering):
        reply = exchange(url, request(method, f"{ground.chat}/messages"))
        assert reply.status in ((200, 400) if method == "get" else (400, 404, 405))
        assert b"<script" not in reply.body
    ground.check_untouched(applications)


@pytest.mark.parametrize(
    "given", ["", "a b", "x" * 129, '"><script>', "é", "\xff", "a\tb", "${jndi:x}", "a,b", "-\x7f-"]
)
def test_a_harmful_request_id_is_not_kept(ground: Ground, given: str) -> None:
    line = b"X-Request-ID: " + given.encode("latin-1")
    for url in (ground.crud, ground.numbering):
        reply = exchange(url, request("GET", "/nothing", b"", line))
        # A control character, by the standard, may be refused at once.
        check_problem(reply, 404, *([400] if "\x7f" in given else []))
        assert reply.headers["x-request-id"].isalnum()
        assert given == "" or given not in reply.headers["x-request-id"]


@pytest.mark.parametrize(
    "lines",
    [
        [b"Idempotency-Key:"],
        [b"Idempotency-Key:    "],
        [b"Idempotency-Key: " + b"k" * 256],
        [b"Idempotency-Key: \xc3\xa9"],
        [b"Idempotency-Key: a\tb"],
        [b"Idempotency-Key: a", b"Idempotency-Key: a"],
        [b"Idempotency-Key: a", b"Idempotency-Key: b"],
    ],
)
def test_an_invalid_idempotency_key_is_422(ground: Ground, lines: list[bytes]) -> None:
    applications = ground.applications()
    check_problem(ground.doors["create message"].send(b'{"body":"x"}', *lines), 422)
    ground.check_untouched(applications)


@pytest.mark.parametrize(
    "key", ['"quoted"', "k" * 255, "a:b:c", "*?[a]", "%00", "a b", "~!@#$^&()"]
)
def test_any_printable_key_replays_and_collides_with_no_other(ground: Ground, key: str) -> None:
    door = ground.doors["create message"]
    first = door.send(b'{"body":"x"}', f"Idempotency-Key: {key}")
    again = door.send(b'{"body":"x"}', f"Idempotency-Key: {key}")
    assert again.number == first.number == next(ground.expected)
    assert again.headers["idempotent-replayed"] == "true"
    check_problem(door.send(b'{"body":"y"}', f"Idempotency-Key: {key}"), 422)
    ground.check_untouched(ground.applications())


@pytest.mark.parametrize("size", [70_000, 300_000, 5_000_000])
def test_oversized_headers_and_urls_are_refused(ground: Ground, size: int) -> None:
    """With a problem document; many short headers may still be below the byte limit."""
    for url in (ground.crud, ground.numbering):
        for raw in (
            request("GET", "/" + "a" * size),
            request("GET", "/nothing", b"", b"X-A: " + b"a" * size),
            request("GET", "/nothing", b"", *[b"X-%d: a" % n for n in range(size // 8)]),
        ):
            with Connection(url) as connection:
                reply = connection.send(raw).read()
            assert reply is not None
            check_problem(reply, 404, 431)
    assert exchange(ground.crud, request("GET", "/health/live")).status == 200
    ground.check_untouched(ground.applications())


@pytest.mark.parametrize(
    "host",
    ["evil.example", "a b", "<script>", "x" * 3000, "[::1", "a:b:c", "\xe9", "", "a@b", "a/b#"],
)
def test_an_invalid_host_is_not_echoed(ground: Ground, host: str) -> None:
    ground.check_created(0)
    ground.api.wait_for_numbers(f"{ground.chat}/messages?limit=2", [1, 2], 30)
    raw = request("GET", f"{ground.chat}/messages?limit=1").replace(
        b"Host: x", b"Host: " + host.encode("latin-1")
    )
    reply = exchange(ground.crud, raw)
    assert reply.status in (200, 400)
    if reply.status == 200:
        assert reply.headers["link"].startswith(f"<{ground.crud}/applications/")


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"])
def test_a_method_is_what_the_request_line_says(ground: Ground, name: str) -> None:
    reply = exchange(ground.crud, request("GET", ground.application, b"", f"{name}: DELETE"))
    assert reply.status == 200
    ground.check_untouched(ground.applications())


@pytest.mark.parametrize(
    "tag",
    [
        *('""', '"', "*, *", '"a', "a", "W/", ",,,", '"' + "x" * 9000 + '"', "\x80\xff", "W/*"),
        '"a",' * 4000,
    ],
    ids=lambda it: it[:12],
)
def test_an_invalid_tag_matches_nothing(ground: Ground, tag: str) -> None:
    raw = tag.encode("latin-1")
    door = ground.doors["edit message"]
    kept = door.send(b'{"body":"x"}', b"Content-Type: application/json", b"If-Match: " + raw)
    check_problem(kept, 412)
    shown = exchange(ground.crud, request("GET", ground.message, b"", b"If-None-Match: " + raw))
    assert shown.status == 200
    ground.check_untouched(ground.applications())


@pytest.mark.parametrize("path", ["/%FF", "/caf%c3%a9/%E2%82", "/%C0%80%41", "/%F0%9F%98"])
def test_both_services_name_a_path_in_the_same_way(ground: Ground, path: str) -> None:
    replies = on_both(ground, "GET", path)
    crud, numbering = (json.loads(reply.body)["instance"] for reply in replies)
    assert crud == numbering
    assert path.count("%") >= crud.count("%") > 0
    assert "%EF%BF%BD" not in crud
