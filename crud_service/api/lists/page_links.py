"""Pagination: parsing the requested page, and links to its neighbours."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from contract.paths import MAX_NUMBER, TOKEN_PATTERN
from crud_service.chat.list_queries import ScanOrder
from web.problems import ValidationFailed

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
NUMBER_CURSOR = "0|[1-9][0-9]{0,18}"
PARAMETERS = ("limit", "after", "before", "order")


@dataclass(frozen=True)
class Page:
    """A requested page; `after` and `before` are exclusive cursors."""

    limit: int
    after: str | None
    before: str | None
    descending: bool

    @property
    def order(self) -> ScanOrder:
        """The direction to read in: a page is adjacent to its cursor, whatever its order."""
        both = self.after is not None and self.before is not None
        only_before = self.before is not None and not both
        only_after = self.after is not None and not both
        backward = not only_after if self.descending else only_before
        return ScanOrder(backward=backward, descending=self.descending, bounded=both)


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a list, the cursors at both ends, and whether more rows lie beyond.

    On a page with much text, `items` is only the first piece; `rest` holds the identities
    of the remaining rows, in order, and `pieces` the piece number of each. `changes` is the
    number of the last change in the list's chat, if it is a list of messages.
    """

    total: int
    items: bytes | None
    last_key: int | None
    lowest: bytes | None
    highest: bytes | None
    fewer: bool
    more: bool
    rest: Sequence[int] | None = None
    pieces: Sequence[int] | None = None
    changes: int | None = None

    def as_array(self) -> bytes:
        return b"[%s]" % (self.items or b"")


def parse_page(fields: Mapping[str, object], cursor_pattern: str) -> Page | None:
    """Parse the page parameters; None for the complete list. Raises ValidationFailed (422)."""
    if not any(name in fields for name in PARAMETERS):
        return None
    order = fields.get("order", "asc")
    if order not in {"asc", "desc"}:
        raise ValidationFailed("order", "Must be asc or desc.")
    return Page(
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


def number_bounds(after: str | None, before: str | None, lowest: int = 1) -> tuple[str, str]:
    """Return the inclusive bounds between two cursors.

    Args:
        after: a number, exclusive; None for no bound.
        before: the same at the other end.
        lowest: the lowest number that there can be.

    Returns:
        The lowest and the highest number, as parameters; an empty range if nothing can match.
    """
    low = lowest if after is None else int(after) + 1
    high = MAX_NUMBER if before is None else int(before) - 1
    return (str(low), str(high)) if low <= high else ("1", "0")


def links(url: str, page: Page, rows: Rows, more: Mapping[str, str] | None = None) -> str:
    """Return the `Link` header of a page with rows; empty if it is the only page.

    Args:
        url: that of the list, without a query string.
        page: what was asked for.
        rows: what was found.
        more: parameters that the links repeat.
    """
    # Keys and access tokens need no escapes, which would cost most of a link.
    down = f"&before={(rows.lowest or b'').decode()}"
    up = f"&after={(rows.highest or b'').decode()}"
    behind, ahead = (up, down) if page.descending else (down, up)
    has_behind, has_ahead = (rows.more, rows.fewer) if page.descending else (rows.fewer, rows.more)
    if page.order.bounded:
        # With two bounds, following `next` ends at the far bound.
        ahead += f"&after={page.after}" if page.descending else f"&before={page.before}"
    size = f"{urlencode(more)}&limit={page.limit}" if more else f"limit={page.limit}"
    size += "&order=desc" if page.descending else ""
    cursors = [("next", ahead)] if has_ahead else []
    cursors += [("prev", behind)] if has_behind else []
    return ", ".join([f'<{url}?{size}{cursor}>; rel="{rel}"' for rel, cursor in cursors])
