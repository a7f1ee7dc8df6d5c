"""Other origins: what is configured, and what the server adds to which answers."""

import socket
from collections.abc import Iterator, Sequence

import pytest

from contract.settings_reading import SettingsError
from tests.unit.web.web_server import Recorder, serving
from web.cors import EXPOSED, NEVER, Cors, allow, origin_of_page, parse_origins
from web.server import limits

HERE, THERE = "https://chat.example.com", "http://localhost:5173"


class Shop(Recorder):
    """An application with one path, which other origins may read."""

    def __init__(self, *origins: str) -> None:
        super().__init__()
        self.cors = Cors(origins, methods_of)


def methods_of(path: str) -> Sequence[str]:
    return ["GET", "HEAD", "PUT"] if path == "/thing" else []


@pytest.fixture(scope="module")
def listed() -> Iterator[int]:
    with serving(Shop(HERE, THERE)) as port:
        yield port


@pytest.fixture(scope="module")
def anyone() -> Iterator[int]:
    with serving(Shop("*")) as port:
        yield port


def ask(port: int, start: str, *lines: str) -> tuple[int, dict[str, str]]:
    """Send a head; return the status and the headers of the answer."""
    head = "\r\n".join([f"{start} HTTP/1.1", "Host: x", "Connection: close", *lines, "", ""])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode())
        received = b""
        while piece := connection.recv(65536):
            received += piece
    status, *fields = received.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    pairs = [field.split(": ", 1) for field in fields]
    assert len({name for name, _ in pairs}) == len(pairs)
    return int(status.split()[1]), dict(pairs)


def preflight(port: int, path: str, *lines: str, origin: str = HERE) -> tuple[int, dict[str, str]]:
    method = "Access-Control-Request-Method: PUT"
    return ask(port, f"OPTIONS {path}", f"Origin: {origin}", method, *lines)


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        (" , ", ()),
        ("*", ("*",)),
        (f"{HERE},{THERE}", (HERE, THERE)),
        (f" {HERE} ,\n{THERE} {HERE}", (HERE, THERE)),
        ("http://[::1]:3000 capacitor://localhost", ("http://[::1]:3000", "capacitor://localhost")),
        ("chrome-extension://abcdef", ("chrome-extension://abcdef",)),
        ("http://a.example:443", ("http://a.example:443",)),
    ],
)
def test_origins_are_separated_by_commas_or_spaces(text: str, origins: tuple[str, ...]) -> None:
    assert parse_origins(text) == origins


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{HERE}/", "without a path"),
        ("https://chat.example.com/app", "without a path"),
        ("https://Chat.example.com", "lower case"),
        ("chat.example.com", "a scheme"),
        ("https://", "a host"),
        ("https://*.example.com", "not an origin"),
        ("null", "not an origin"),
        (f"{HERE};{THERE}", "not an origin"),
        ("https://user@chat.example.com", "not an origin"),
        ("https://bücher.example", "not an origin"),
        ("https://chat.example.com:443", f"write {HERE}"),
        ("http://chat.example.com:80", "write http://chat.example.com"),
        (f"*,{HERE}", "remove the others"),
    ],
)
def test_what_no_browser_sends_as_an_origin_is_refused(text: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=r"^CORS_ORIGINS: ") as refused:
        parse_origins(text)
    assert reason in str(refused.value)


def test_a_listed_origin_reads_the_answer_and_its_headers(listed: int) -> None:
    for origin in (HERE, THERE):
        status, headers = ask(listed, "GET /thing", f"Origin: {origin}")
        assert status == 200
        assert headers["access-control-allow-origin"] == origin
        assert headers["access-control-expose-headers"] == EXPOSED
        assert headers["vary"] == "origin"
        assert "access-control-allow-credentials" not in headers


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Origin: https://evil.example"],
        ["Origin: null"],
        ["Origin: *"],
        [f"Origin: {HERE}.evil.example"],
        [f"Origin: {HERE}:443"],
        [f"Origin: {HERE}/"],
        [f"Origin: {HERE.upper()}"],
        [f"Origin: {HERE}, {THERE}"],
        [f"Origin: {HERE}", f"Origin: {THERE}"],
        ["Origin: "],
    ],
)
def test_another_origin_reads_nothing(listed: int, lines: list[str]) -> None:
    status, headers = ask(listed, "GET /thing", *lines)
    assert status == 200
    assert not [name for name in headers if name.startswith("access-control")]
    assert headers["vary"] == "origin"


@pytest.mark.parametrize("lines", [[], ["Origin: null"], [f"Origin: {HERE}"]])
def test_any_origin_gets_the_same_answer_for_a_star(anyone: int, lines: list[str]) -> None:
    _, headers = ask(anyone, "GET /thing", *lines)
    assert headers["access-control-allow-origin"] == "*"
    assert headers["access-control-expose-headers"] == EXPOSED
    assert "vary" not in headers


@pytest.mark.parametrize(
    ("start", "line", "status"),
    [
        ("GET /thing", "Content-Length: x", 400),
        ("GET /thing", "A line without a colon", 400),
        ("POST /thing", f"Content-Length: {limits.BODY_BYTES + 1}", 413),
        (f"GET /{'x' * limits.HEAD_BYTES}", "A: b", 431),
        ("GET /thing", "\r\n".join(["A: b"] * limits.HEAD_LINES), 431),
    ],
)
def test_refusals_of_the_server_can_be_read_too(
    listed: int, anyone: int, start: str, line: str, status: int
) -> None:
    answered, headers = ask(listed, start, f"Origin: {HERE}", line)
    assert answered == status
    assert headers["access-control-allow-origin"] == HERE
    _, headers = ask(listed, start, "Origin: https://evil.example", line)
    assert "access-control-allow-origin" not in headers
    _, headers = ask(anyone, start, line)
    assert headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("origin", [HERE, THERE])
def test_a_preflight_tells_what_the_path_allows(listed: int, origin: str) -> None:
    status, headers = preflight(listed, "/thing", origin=origin)
    assert status == 204
    assert "content-length" not in headers
    assert headers["access-control-allow-origin"] == origin
    assert headers["access-control-allow-methods"] == "GET, HEAD, PUT"
    assert headers["access-control-allow-headers"] == (
        "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, "
        "X-Request-ID"
    )
    assert int(headers["access-control-max-age"]) > 0
    assert headers["x-request-id"]


def test_what_is_not_a_preflight_goes_to_the_application(listed: int) -> None:
    # The application answers 200, and the server's answer to a preflight would be 204.
    assert preflight(listed, "/elsewhere")[0] == 200
    assert preflight(listed, "/thing", origin="https://evil.example")[0] == 200
    assert ask(listed, "OPTIONS /thing", f"Origin: {HERE}")[0] == 200
    assert ask(listed, "GET /thing", "Access-Control-Request-Method: PUT")[0] == 200


@pytest.mark.parametrize("path", [NEVER, f"{NEVER}/", f"{NEVER}/login/", "/%61dmin/login/"])
def test_the_site_of_operators_is_left_out(anyone: int, path: str) -> None:
    for start in (f"GET {path}", f"GET {path}?{'x' * limits.HEAD_BYTES}"):
        _, headers = ask(anyone, start, f"Origin: {HERE}")
        assert not [name for name in headers if name.startswith("access-control")]
    assert preflight(anyone, path)[0] == 200


def test_without_origins_nothing_is_added() -> None:
    with serving(Recorder()) as port:
        for status, headers in (ask(port, "GET /thing", f"Origin: {HERE}"), preflight(port, "/")):
            assert status == 200
            assert not {name for name in headers if name.startswith("access-control")}
            assert "vary" not in headers


def test_the_origin_of_a_refused_head_is_found_between_any_number_of_spaces() -> None:
    """They are read once: not again from each of them, which took minutes."""
    cors = Cors([HERE], lambda _: [])
    head = b"GET /%b HTTP/1.1\r\norigin:" + b" \t" * 30_000
    assert allow(HERE) in cors.lines_for_raw(head + HERE.encode() + b" " * 30_000 + b"\r\n")
    assert allow(HERE) not in cors.lines_for_raw(head)


def test_a_refused_head_with_several_origins_has_none() -> None:
    cors = Cors([HERE], lambda _: [])
    line = f"Origin: {HERE}\r\n".encode()
    assert allow(HERE) in cors.lines_for_raw(b"GET /% HTTP/1.1\r\n" + line + b"A: b\r\n")
    assert allow(HERE) not in cors.lines_for_raw(b"GET /% HTTP/1.1\r\n" + 2 * line)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Chat.Example.com:443/api", "https://chat.example.com"),
        ("https://chat.example.com:80", "https://chat.example.com:80"),
        ("http://user:secret@chat.example.com:080", "http://chat.example.com"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://[::1]:80/", "http://[::1]"),
    ],
)
def test_the_origin_of_a_page_is_what_browsers_make_of_its_address(url: str, origin: str) -> None:
    assert origin_of_page(url) == origin
