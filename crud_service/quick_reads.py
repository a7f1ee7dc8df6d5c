"""The GETs that clients send most, in front of Django: resources, pages of messages, searches.

Django's request, routing and response cost more than the query does. Here the
answer 200 is given, by the functions that the views use; whatever else it may
become (404, 304, 422) is left to the views, as if we had not looked. So is a
GET with a body. Only a 503 is final: asking a store again takes as long again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contract.fields import parse_urlencoded
from contract.paths import MAX_NUMBER, TOKEN_PATTERN, mask_token
from contract.problems import CONTENT_TYPE, StoreUnavailable
from crud_service.chat.etags import etag
from crud_service.chat.list_queries import MESSAGES
from crud_service.chat.lists import fetch_rows
from crud_service.chat.pages import NUMBER_CURSOR, page_headers, requested_page
from crud_service.chat.reading import find_application, find_chat, find_message
from crud_service.chat.searching import answer_search

_NUMBER = "([1-9][0-9]{0,18})"
Found = tuple[bytes, Mapping[str, str]]  # the body and the headers of a 200
_PATH = re.compile(
    rf"/applications/({TOKEN_PATTERN})"
    rf"(?:/chats/{_NUMBER}(?:/(messages)(?:/(?:{_NUMBER}|(search)))?)?)?/?",
    re.ASCII,
)
JSON = ("Content-Type", "application/json")


@dataclass(slots=True)
class Answer:
    """For whom it is counted, as what path it is logged, and what goes over the wire."""

    route: str
    path: str
    body: bytes
    headers: list[tuple[str, str]]
    status: int = 200


def quick_read(environ: Mapping[str, Any], request_id: str) -> Answer | None:
    """The answer to one of these GETs when it is 200 or 503, else None."""
    if "HTTP_IF_NONE_MATCH" in environ:
        return None
    match = _PATH.fullmatch(environ["PATH_INFO"])
    if match is None:
        return None
    token, chat, messages, number, search = match.groups()
    if not all(text is None or int(text) <= MAX_NUMBER for text in (chat, number)):
        return None
    if chat is None:
        route = "application"
    elif messages is None:
        route = "chat"
    else:
        route = search or (messages if number is None else "message")
    path = f"/applications/{mask_token(token)}{match[0][38:]}"
    try:
        found = _find(environ, route, token, chat, number)
    except StoreUnavailable as problem:
        body = problem.render(environ["PATH_INFO"], request_id)
        headers = [("Content-Type", CONTENT_TYPE), *problem.headers.items()]
        return Answer(route, path, body, headers, problem.status)
    except Exception:
        return None  # a problem, or something that nobody foresaw: told where all are
    return None if found is None else Answer(route, path, found[0], [JSON, *found[1].items()])


def _find(
    environ: Mapping[str, Any], route: str, token: str, chat: str, number: str
) -> Found | None:
    if route == "search":
        return _search(environ, token, chat)
    if route == "messages":
        return _page(environ, token, chat)
    if route == "application":
        body = find_application(token)
    elif route == "chat":
        body = find_chat(token, int(chat))
    else:
        body = find_message(token, int(chat), int(number))
    return None if body is None else (body, {"ETag": etag(body)})


def _page(environ: Mapping[str, Any], token: str, chat: str) -> Found | None:
    page = requested_page(environ, NUMBER_CURSOR)
    if page is None:
        return None
    rows = fetch_rows(MESSAGES, {"access_token": token, "chat_number": chat}, page)
    return None if rows is None else (rows.as_array(), page_headers(environ, page, rows))


def _search(environ: Mapping[str, Any], token: str, chat: str) -> Found | None:
    if environ.get("CONTENT_LENGTH", "0") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        return None
    sent = parse_urlencoded(environ["QUERY_STRING"].encode("latin-1"))
    return answer_search(environ, token, int(chat), sent)
