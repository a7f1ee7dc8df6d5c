"""What a request wants: to follow a chat, to follow an application, or a list that waits."""

import re
from types import MappingProxyType
from typing import NamedTuple

from contract.paths import NUMBER_PATTERN, TOKEN_PATTERN, parse_number
from crud_service.api.lists.list_request import ListRequest, parse_list_request
from crud_service.chat.filters import Filters
from crud_service.chat.list_queries import MESSAGES, Collection
from crud_service.live.cursor import PARAMETERS, Start, requested_start
from web.fields import parse_urlencoded
from web.problems import Problem
from web.server.request import Request

_PATH = re.compile(
    rf"/applications/({TOKEN_PATTERN})(?:/chats/({NUMBER_PATTERN})/messages)?(/stream)?/?",
    re.ASCII,
)
# Letters of a name may be escaped.
_MAY_WAIT = re.compile(rb"(?:^|&)(?:wait|[a-z]*%[^&=]*)=")


class ApplicationStream(NamedTuple):
    """Events of all chats of an application."""

    access_token: str


class ChatStream(NamedTuple):
    """Events of one chat."""

    access_token: str
    chat_number: int
    start: Start


class WaitingList(NamedTuple):
    """The messages after a number, as soon as there is one, at most after some seconds.

    `messages` are those of the chat that pass the `filters`.
    """

    access_token: str
    chat_number: int
    after: int
    seconds: int
    messages: Collection = MESSAGES
    filters: Filters = MappingProxyType({})


StreamWanted = ApplicationStream | ChatStream
Wanted = StreamWanted | WaitingList


def concerns_live(request: Request) -> bool:
    """Whether a request may want a stream, or a list that waits."""
    return "/stream" in request.path or _MAY_WAIT.search(request.query) is not None


def wanted(request: Request) -> Wanted | None:
    """Return what a request wants; None if it wants something else, or is malformed."""
    match = _PATH.fullmatch(request.path)
    if match is None or request.method not in {"GET", "HEAD"}:
        return None
    token, chat, stream = match.groups()
    if chat is None:
        return ApplicationStream(token) if stream else None
    number = parse_number(chat)
    if number is None:
        return None
    try:
        if stream:
            query = parse_urlencoded(request.query, PARAMETERS)
            start = requested_start(request.header(b"last-event-id"), query)
            return ChatStream(token, number, start)
        asked = parse_list_request(ListRequest(MESSAGES, {}), request.query)
    except Problem:
        return None
    if not asked.wait:
        return None
    after = int(asked.after or 0)
    return WaitingList(token, number, after, asked.wait, asked.collection, asked.options)
