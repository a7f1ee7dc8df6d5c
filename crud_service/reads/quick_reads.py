"""Fast path around Django for pages of messages and for searches.

Django's request, routing and response cost more than the query. This path uses
the views' own functions and gives only the answer 200; any other outcome (404,
304, 422) is left to the views, which start afresh. So is a GET with a body. Only
a 503 is final as well: asking an unavailable store again would take as long again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contract.paths import MAX_NUMBER, TOKEN_PATTERN, mask_token
from crud_service.api.lists import fetch_rows
from crud_service.api.pages import NUMBER_CURSOR, page_headers, requested_page
from crud_service.api.searching import answer_search
from crud_service.chat.list_queries import MESSAGES
from web.fields import parse_urlencoded
from web.problems import CONTENT_TYPE, StoreUnavailable

_NUMBER = "([1-9][0-9]{0,18})"
Found = tuple[bytes, Mapping[str, str]]  # the body and the headers of a 200
_PATH = re.compile(
    rf"/applications/({TOKEN_PATTERN})/chats/{_NUMBER}/messages(/search)?/?", re.ASCII
)
JSON = ("Content-Type", "application/json")


@dataclass(slots=True)
class Answer:
    """The route for metrics, the path for the log, and the response itself."""

    route: str
    path: str
    body: bytes
    headers: list[tuple[str, str]]
    status: int = 200


def quick_read(environ: Mapping[str, Any], request_id: str) -> Answer | None:
    """Answer such a GET if the status is 200 or 503; else return None, and the views answer it."""
    if "HTTP_IF_NONE_MATCH" in environ:
        return None
    match = _PATH.fullmatch(environ["PATH_INFO"])
    if match is None or int(match[2]) > MAX_NUMBER:
        return None
    token, chat, search = match.groups()
    path = f"/applications/{mask_token(token)}{match[0][38:]}"
    route, read = ("search", _search) if search else ("messages", _page)
    try:
        found = read(environ, token, chat)
    except StoreUnavailable as problem:
        return unavailable(route, path, problem, environ["PATH_INFO"], request_id)
    except Exception:
        return None  # a problem or an unexpected error: the views report it
    return None if found is None else Answer(route, path, found[0], [JSON, *found[1].items()])


def unavailable(
    route: str, log_path: str, problem: StoreUnavailable, path: str, request_id: str
) -> Answer:
    """Return a 503 as an answer; `log_path` is the path with its token masked."""
    headers = [("Content-Type", CONTENT_TYPE), *problem.headers.items()]
    return Answer(route, log_path, problem.render(path, request_id), headers, problem.status)


def _page(environ: Mapping[str, Any], token: str, chat: str) -> Found | None:
    page = requested_page(environ, NUMBER_CURSOR)
    if page is None:
        return None
    rows = fetch_rows(MESSAGES, {"access_token": token, "chat_number": chat}, page)
    if rows is None or rows.rest:
        return None
    return (rows.as_array(), page_headers(environ, page, rows))


def _search(environ: Mapping[str, Any], token: str, chat: str) -> Found | None:
    if environ.get("CONTENT_LENGTH", "0") not in ("", "0") or "HTTP_TRANSFER_ENCODING" in environ:
        return None
    sent = parse_urlencoded(environ["QUERY_STRING"].encode("latin-1"))
    return answer_search(environ, token, int(chat), sent)
