"""The floor under crud_service: its statements in a bare callable, and nothing else.

`python -m bench.floor` serves the GETs of an application, a message and a page
of messages on CRUD_PORT: the same SQL, the same connections to PostgreSQL, the
same server with the same settings. No checks, no ids, no log, no headers.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl

from crud_service.__main__ import die_with_parent, server

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


def load_floor() -> Callable[[dict[str, Any], StartResponse], Iterable[bytes]]:
    """The callable, in the process that serves."""
    die_with_parent()
    from contract.paths import MAX_NUMBER
    from crud_service.chat.list_queries import MESSAGES, Walk, list_query
    from crud_service.chat.reading import APPLICATION, MESSAGE
    from crud_service.database import fetch_one

    page = list_query(MESSAGES, Walk())

    def read(words: list[str], query: str) -> bytes:
        token = words[1]
        if len(words) == 2:
            row = fetch_one(APPLICATION, (token,))
        elif len(words) == 6:
            row = fetch_one(MESSAGE, (words[3], words[5], token))
        else:
            asked = dict(parse_qsl(query))
            bounds = {"low": str(int(asked["after"]) + 1), "high": str(MAX_NUMBER)}
            values = {"access_token": token, "chat_number": words[3], "limit": int(asked["limit"])}
            row = fetch_one(page, {**values, **bounds})
            return b"[%s]" % row[3] if row else b""
        return bytes(row[0]) if row else b""

    def floor(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        words = environ["PATH_INFO"].strip("/").split("/")
        body = b"{}" if words[0] == "health" else read(words, environ["QUERY_STRING"])
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("200 OK" if body else "404 Not Found", headers)
        return [body]

    return floor


if __name__ == "__main__":
    server().serve(target_loader=load_floor, wrap_loader=False)
    sys.exit(0)
