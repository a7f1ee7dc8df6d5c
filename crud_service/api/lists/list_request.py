"""What a query string asks of a list: which rows, in which order, and what each includes."""

import base64
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from contract.paths import TOKEN_PATTERN
from crud_service.api.lists.page_links import (
    DEFAULT_LIMIT,
    NUMBER_CURSOR,
    PARAMETERS,
    Page,
    Rows,
    links,
    parse_cursor,
    parse_limit,
    parse_page,
)
from crud_service.chat.filters import FILTERS, Filters, parse_filters
from crud_service.chat.list_queries import (
    ACTIVE_CHATS,
    ACTIVE_CHATS_AND_LAST_MESSAGES,
    CHANGED_MESSAGES,
    CHATS,
    CHATS_AND_LAST_MESSAGES,
    MESSAGES,
    Collection,
    filtered,
)
from web.fields import Fields, parse_urlencoded
from web.problems import ValidationFailed

MAX_WAIT_SECONDS = 60
BY_LAST_MESSAGE = "-last_message"
LAST_MESSAGE = "last_message"
_OF_MESSAGES = (*PARAMETERS, "wait", "changed_after", *FILTERS)
_OF_CHATS = (*PARAMETERS, "sort", "include", "cursor")
_OTHER_ORDERS = ("after", "before", "order")
_ACTIVITY = struct.Struct(">q")
# 64 bits in base64: the last character holds four of them.
ACTIVITY_CURSOR = "[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]"


@dataclass(frozen=True)
class ListRequest:
    """The rows that a request asks for: a page of a collection, or all of it if there is none.

    `after` is where a list without pages begins, `wait` how many seconds to wait for a first
    row, `filters` the parameters by which the collection is limited, and `parameters` what else
    the links to other pages repeat.
    """

    collection: Collection
    page: Page | None
    after: str | None = None
    wait: int = 0
    parameters: tuple[tuple[str, str], ...] = ()
    filters: Filters = field(default_factory=dict)

    @property
    def lists_changes(self) -> bool:
        """Whether the rows are messages in the order of their changes."""
        return self.collection.key == CHANGED_MESSAGES.key


def parse_list_request(collection: Collection, query: str) -> ListRequest:
    """Parse the query string of a list, percent-encoded.

    Raises MalformedBody (400) or ValidationFailed (422).
    """
    data = query.encode("latin-1")
    if collection is MESSAGES:
        return _requested_messages(parse_urlencoded(data, _OF_MESSAGES))
    if collection is CHATS:
        return _requested_chats(parse_urlencoded(data, _OF_CHATS))
    page = parse_page(parse_urlencoded(data, PARAMETERS), TOKEN_PATTERN)
    return ListRequest(collection, page)


def _requested_messages(fields: Fields) -> ListRequest:
    wait = _parse_wait(fields)
    change = parse_cursor("changed_after", fields.get("changed_after"), NUMBER_CURSOR)
    filters = parse_filters(fields)
    names = tuple(filters)
    if change is None:
        page = parse_page(fields, NUMBER_CURSOR)
        return ListRequest(filtered(MESSAGES, names), page, wait=wait, filters=filters)
    _refuse_other_orders(fields, "changed_after")
    page = None
    if "limit" in fields:
        page = Page(parse_limit(fields["limit"]), change, None, descending=False)
    return ListRequest(filtered(CHANGED_MESSAGES, names), page, after=change, filters=filters)


def _parse_wait(fields: Fields) -> int:
    """Return how many seconds to wait for a first message."""
    if "wait" not in fields:
        return 0
    value = fields["wait"]
    if not (
        isinstance(value, str)
        and re.fullmatch("0|[1-9][0-9]?", value, re.ASCII)
        and int(value) <= MAX_WAIT_SECONDS
    ):
        raise ValidationFailed("wait", f"Must be a whole number from 0 to {MAX_WAIT_SECONDS}.")
    upwards = fields.get("order", "asc") == "asc"
    if "before" in fields or "changed_after" in fields or not upwards:
        raise ValidationFailed(
            "wait", "Must not be combined with before, changed_after or order=desc."
        )
    return int(value)


def _requested_chats(fields: Fields) -> ListRequest:
    included = _is_included(fields)
    parameters = (("include", LAST_MESSAGE),) if included else ()
    last = _parse_activity(fields.get("cursor"))
    if "sort" not in fields:
        if last is not None:
            raise ValidationFailed("cursor", f"Needs sort={BY_LAST_MESSAGE}.")
        collection = CHATS_AND_LAST_MESSAGES if included else CHATS
        page = parse_page(fields, NUMBER_CURSOR)
        return ListRequest(collection, page, parameters=parameters)
    if fields["sort"] != BY_LAST_MESSAGE:
        raise ValidationFailed("sort", f"Must be {BY_LAST_MESSAGE}.")
    _refuse_other_orders(fields, "sort")
    collection = ACTIVE_CHATS_AND_LAST_MESSAGES if included else ACTIVE_CHATS
    before = None if last is None else str(last)
    limit = parse_limit(fields.get("limit", DEFAULT_LIMIT))
    page = Page(limit, None, before, descending=True)
    return ListRequest(collection, page, parameters=(("sort", BY_LAST_MESSAGE), *parameters))


def _is_included(fields: Fields) -> bool:
    if fields.get("include", LAST_MESSAGE) != LAST_MESSAGE:
        raise ValidationFailed("include", f"Must be {LAST_MESSAGE}.")
    return "include" in fields


def _refuse_other_orders(fields: Fields, name: str) -> None:
    if any(other in fields for other in _OTHER_ORDERS):
        raise ValidationFailed(name, "Must not be combined with after, before or order.")


def activity_cursor(activity: int) -> str:
    """Return the cursor of the chats before one with this activity."""
    return base64.urlsafe_b64encode(_ACTIVITY.pack(activity)).decode().rstrip("=")


def _parse_activity(cursor: object) -> int | None:
    if cursor is None:
        return None
    if not re.fullmatch(ACTIVITY_CURSOR, str(cursor), re.ASCII):
        raise ValidationFailed("cursor", "Must be a cursor from a page of the same list.")
    (activity,) = _ACTIVITY.unpack(base64.urlsafe_b64decode(f"{cursor}="))
    return int(activity)


def last_change(requested: ListRequest, rows: Rows) -> int | None:
    """Return the last change that a client has seen once it has these rows."""
    cut_short = requested.page is not None and rows.more
    if requested.lists_changes and cut_short:
        return rows.last_key
    return rows.changes


def page_links(url: str, requested: ListRequest, rows: Rows) -> str:
    """Return the `Link` header of a page; empty if it has no neighbour.

    Args:
        url: that of the list, without a query string.
        requested: what was asked for.
        rows: what was found.
    """
    page = requested.page
    if page is None:
        return ""
    parameters = {**requested.filters, **dict(requested.parameters)}
    if requested.lists_changes:
        cursor: dict[str, object] = {"limit": page.limit, "changed_after": rows.last_key}
        return _next(url, {**parameters, **cursor}) if rows.more else ""
    if "sort" not in parameters:
        return links(url, page, rows, parameters)
    if not rows.fewer or rows.lowest is None:
        return ""
    cursor = {"cursor": activity_cursor(int(rows.lowest))}
    return _next(url, {**parameters, "limit": page.limit, **cursor})


def _next(url: str, parameters: Mapping[str, object]) -> str:
    return f'<{url}?{urlencode(parameters)}>; rel="next"'
