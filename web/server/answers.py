"""Heads of answers, and whole answers to requests that never reach an application."""

from http import HTTPStatus
from typing import Final

from web.problems import CONTENT_TYPE, Problem
from web.request_id import HEADER


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


STATUS_LINES: Final = {
    status: f"HTTP/1.1 {status} {_phrase(status)}\r\n".encode() for status in range(100, 600)
}
CONTINUE = STATUS_LINES[100] + b"\r\n"
CLOSE: Final = b"connection: close\r\n"
KEEP_ALIVE: Final = b"connection: keep-alive\r\n"
CHUNKED_LINE = b"transfer-encoding: chunked\r\n"
# What is logged for a request whose client disconnected before there was an answer.
CLIENT_CLOSED: Final = 499
# Answers that never have a body, whatever the request.
BODILESS: Final = frozenset({204, 304})


def problem_answer(problem: Problem, path: str, request_id: str) -> tuple[bytes, bytes]:
    """Return the header lines and the body of a problem document.

    Args:
        problem: what went wrong.
        path: the request's, for `instance`.
        request_id: the request's id.
    """
    body = problem.render(path, request_id)
    headers = {
        "content-type": CONTENT_TYPE,
        "content-length": str(len(body)),
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        HEADER.lower(): request_id,
        **problem.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return lines.encode(), body


def header_lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    """Join ASGI's pairs into header lines."""
    return b"".join([b"%s: %s\r\n" % (name, value) for name, value in headers])
