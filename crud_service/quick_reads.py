"""GETs of an application, a chat, a message and a page of messages, in front of Django.

Django's request, routing and response cost more than the query does. Here only
the answer 200 is given, by the functions that the views use; whatever else it
may become (404, 304, 422, 503) is left to the views, as if we had not looked.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contract.paths import MAX_NUMBER, TOKEN_PATTERN, mask_token
from crud_service.chat.etags import etag
from crud_service.chat.list_queries import MESSAGES
from crud_service.chat.lists import fetch_rows
from crud_service.chat.pages import NUMBER_CURSOR, page_headers, requested_page
from crud_service.chat.reading import find_application, find_chat, find_message

_NUMBER = "([1-9][0-9]{0,18})"
_PATH = re.compile(
    rf"/applications/({TOKEN_PATTERN})(?:/chats/{_NUMBER}(?:/(messages)(?:/{_NUMBER})?)?)?/?",
    re.ASCII,
)
JSON = ("Content-Type", "application/json")


@dataclass(slots=True)
class Answer:
    """A 200: for whom it is counted, as what path it is logged, and what goes over the wire."""

    route: str
    path: str
    body: bytes
    headers: list[tuple[str, str]]


def quick_read(environ: Mapping[str, Any]) -> Answer | None:
    """The answer to one of these GETs when it is 200, else None."""
    if "HTTP_IF_NONE_MATCH" in environ:
        return None
    match = _PATH.fullmatch(environ["PATH_INFO"])
    if match is None:
        return None
    token, chat, messages, number = match.groups()
    path = f"/applications/{mask_token(token)}{match[0][38:]}"
    try:
        if messages and number is None:
            return _page(environ, token, chat, path)
        return _resource(token, chat, number, path)
    except Exception:
        return None  # a problem, or something that nobody foresaw: told where all are


def _resource(token: str, chat: str | None, number: str | None, path: str) -> Answer | None:
    if not all(text is None or int(text) <= MAX_NUMBER for text in (chat, number)):
        return None
    if chat is None:
        route, found = "application", find_application(token)
    elif number is None:
        route, found = "chat", find_chat(token, int(chat))
    else:
        route, found = "message", find_message(token, int(chat), int(number))
    if found is None:
        return None
    return Answer(route, path, found, [JSON, ("ETag", etag(found))])


def _page(environ: Mapping[str, Any], token: str, chat: str, path: str) -> Answer | None:
    page = requested_page(environ, NUMBER_CURSOR)
    if page is None or int(chat) > MAX_NUMBER:
        return None
    rows = fetch_rows(MESSAGES, {"access_token": token, "chat_number": chat}, page)
    if rows is None:
        return None
    headers = page_headers(environ, page, rows)
    return Answer("messages", path, rows.as_array(), [JSON, *headers.items()])
