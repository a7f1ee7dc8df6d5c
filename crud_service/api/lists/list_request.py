"""The query strings of lists: which rows, in which order, and what each includes."""

import base64
import re
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from contract.paths import MAX_NUMBER, TOKEN_PATTERN
from crud_service.chat.filters import FILTERS, parse_filters
from crud_service.chat.list_queries import (
    ACTIVE_CHATS,
    ACTIVE_CHATS_AND_LAST_MESSAGES,
    APPLICATIONS,
    CHANGED_MESSAGES,
    CHATS,
    CHATS_AND_LAST_MESSAGES,
    MESSAGES,
    Collection,
    ScanOrder,
    filtered,
)
from web.fields import Fields, parse_urlencoded
from web.problems import ValidationFailed

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_WAIT_SECONDS = 60
BY_LAST_MESSAGE = "-last_message"
LAST_MESSAGE = "last_message"
PARAMETERS = ("limit", "after", "before", "order")
_OF_MESSAGES = (*PARAMETERS, "wait", "changed_after", *FILTERS)
_OF_CHATS = (*PARAMETERS, "sort", "include", "cursor")
_OTHER_ORDERS = ("after", "before", "order")
NUMBER_CURSOR = "0|[1-9][0-9]{0,18}"
_ACTIVITY = struct.Struct(">q")
# 64 bits in base64: the last character holds four of them.
ACTIVITY_CURSOR = "[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]"


class ListRequest(NamedTuple):
    """A request for a list: for one page of it, or without a limit for all rows behind `after`.

    Attributes:
        collection: what is listed, limited by the filters.
        parent: the parameters of the path, which name the parent of the rows.
        limit: the size of a page.
        after, before: exclusive cursors.
        descending: whether the highest row comes first.
        wait: how many seconds to wait for a first row.
        options: the other query parameters, as links repeat them; a filter's is also a parameter
            of the statement.
    """

    collection: Collection
    parent: Mapping[str, str]
    limit: int | None = None
    after: str | None = None
    before: str | None = None
    descending: bool = False
    wait: int = 0
    options: Mapping[str, str] = MappingProxyType({})

    @property
    def lists_changes(self) -> bool:
        """Whether the rows are messages in the order of their changes."""
        return self.collection.key == CHANGED_MESSAGES.key

    @property
    def scan_order(self) -> ScanOrder:
        """The direction to read in: a page is adjacent to its cursor, whatever its order."""
        both = self.after is not None and self.before is not None
        only_before = self.before is not None and not both
        only_after = self.after is not None and not both
        backward = not only_after if self.descending else only_before
        return ScanOrder(backward=backward, descending=self.descending, bounded=both)

    @property
    def bounds(self) -> tuple[str | None, str | None]:
        """The lowest and the highest key, as parameters; an empty range if nothing can match."""
        if self.collection is APPLICATIONS:  # its statement finds the bounds by access tokens
            return self.after, self.before
        low = self.collection.lowest if self.after is None else int(self.after) + 1
        high = MAX_NUMBER if self.before is None else int(self.before) - 1
        return (str(low), str(high)) if low <= high else ("1", "0")


def parse_list_request(complete: ListRequest, query: bytes) -> ListRequest:
    """Return a request for a complete list as its query string, percent-encoded, changes it.

    Raises MalformedBody (400) or ValidationFailed (422).
    """
    if complete.collection is MESSAGES:
        return _parse_messages(complete, parse_urlencoded(query, _OF_MESSAGES))
    if complete.collection is CHATS:
        return _parse_chats(complete, parse_urlencoded(query, _OF_CHATS))
    return _parse_page(complete, parse_urlencoded(query, PARAMETERS), TOKEN_PATTERN)


def _parse_messages(complete: ListRequest, fields: Fields) -> ListRequest:
    wait = _parse_wait(fields)
    change = parse_cursor("changed_after", fields.get("changed_after"), NUMBER_CURSOR)
    filters = parse_filters(fields)
    collection = filtered(MESSAGES if change is None else CHANGED_MESSAGES, tuple(filters))
    request = complete._replace(collection=collection, wait=wait, options=filters)
    if change is None:
        return _parse_page(request, fields, NUMBER_CURSOR)
    _refuse_other_orders(fields, "changed_after")
    limit = parse_limit(fields["limit"]) if "limit" in fields else None
    return request._replace(limit=limit, after=change)


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


def _parse_chats(complete: ListRequest, fields: Fields) -> ListRequest:
    if fields.get("include", LAST_MESSAGE) != LAST_MESSAGE:
        raise ValidationFailed("include", f"Must be {LAST_MESSAGE}.")
    included = {"include": LAST_MESSAGE} if "include" in fields else {}
    last = _parse_activity(fields.get("cursor"))
    if "sort" not in fields:
        if last is not None:
            raise ValidationFailed("cursor", f"Needs sort={BY_LAST_MESSAGE}.")
        collection = CHATS_AND_LAST_MESSAGES if included else CHATS
        request = complete._replace(collection=collection, options=included)
        return _parse_page(request, fields, NUMBER_CURSOR)
    if fields["sort"] != BY_LAST_MESSAGE:
        raise ValidationFailed("sort", f"Must be {BY_LAST_MESSAGE}.")
    _refuse_other_orders(fields, "sort")
    return complete._replace(
        collection=ACTIVE_CHATS_AND_LAST_MESSAGES if included else ACTIVE_CHATS,
        limit=parse_limit(fields.get("limit", DEFAULT_LIMIT)),
        before=None if last is None else str(last),
        descending=True,
        options={"sort": BY_LAST_MESSAGE, **included},
    )


def _refuse_other_orders(fields: Fields, name: str) -> None:
    if any(other in fields for other in _OTHER_ORDERS):
        raise ValidationFailed(name, "Must not be combined with after, before or order.")


def _parse_page(request: ListRequest, fields: Fields, cursor_pattern: str) -> ListRequest:
    """Return a request for a page, if any parameter of a page is given."""
    if not any(name in fields for name in PARAMETERS):
        return request
    order = fields.get("order", "asc")
    if order not in {"asc", "desc"}:
        raise ValidationFailed("order", "Must be asc or desc.")
    return request._replace(
        limit=parse_limit(fields.get("limit", DEFAULT_LIMIT)),
        after=parse_cursor("after", fields.get("after"), cursor_pattern),
        before=parse_cursor("before", fields.get("before"), cursor_pattern),
        descending=order == "desc",
    )


def parse_limit(value: object) -> int:
    """Parse a page size from a query string or JSON; raise ValidationFailed (422)."""
    if isinstance(value, str) and re.fullmatch("[1-9][0-9]{0,3}", value, re.ASCII):
        value = int(value)
    if type(value) is int and 1 <= value <= MAX_LIMIT:
        return value
    raise ValidationFailed("limit", f"Must be a whole number from 1 to {MAX_LIMIT}.")


def parse_cursor(field: str, value: object, pattern: str) -> str | None:
    """Check a cursor.

    Args:
        field: its parameter, for the error.
        value: what the client sent; None if nothing.
        pattern: a regular expression for all of it.

    Returns:
        The value, unchanged. Raises ValidationFailed (422) if it is malformed.
    """
    if value is None:
        return None
    matches = isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII)
    if pattern == TOKEN_PATTERN:
        if not matches:
            raise ValidationFailed(field, "Must be an access token.")
    elif not matches or int(str(value)) > MAX_NUMBER:
        raise ValidationFailed(field, f"Must be a whole number from 0 to {MAX_NUMBER}.")
    return str(value)


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
