"""The `Link` header: the pages next to a page of a list, and the page behind one of a search."""

from collections.abc import Mapping
from urllib.parse import urlencode

from crud_service.api.lists.list_request import ListRequest, activity_cursor
from crud_service.api.lists.list_rows import Rows


def page_links(url: str, request: ListRequest, rows: Rows) -> str:
    """Return the links of a list; empty if it is complete, or a page without neighbours.

    Args:
        url: that of the list, without a query string.
        request: what was asked for.
        rows: what was found.
    """
    if request.limit is None:
        return ""
    parameters = {**request.options, "limit": str(request.limit)}
    if request.lists_changes:
        last = {"changed_after": str(rows.last_key)}
        return next_link(url, {**parameters, **last}) if rows.has_higher else ""
    if "sort" not in parameters:
        return _neighbours(url, request, rows)
    if not rows.has_lower or rows.lowest is None:
        return ""
    return next_link(url, {**parameters, "cursor": activity_cursor(int(rows.lowest))})


def next_link(url: str, parameters: Mapping[str, object]) -> str:
    """Return the link of a page that is followed by the one with these parameters."""
    return f'<{url}?{urlencode(parameters)}>; rel="next"'


def _neighbours(url: str, request: ListRequest, rows: Rows) -> str:
    """Return the links of a page in the order of keys."""
    # Keys and access tokens need no escapes, which would cost most of a link.
    down = f"&before={(rows.lowest or b'').decode()}"
    up = f"&after={(rows.highest or b'').decode()}"
    behind, ahead = (up, down) if request.descending else (down, up)
    has_behind, has_ahead = rows.has_lower, rows.has_higher
    if request.descending:
        has_behind, has_ahead = has_ahead, has_behind
    if request.scan_order.bounded:
        # With two bounds, following `next` ends at the far bound.
        ahead += f"&after={request.after}" if request.descending else f"&before={request.before}"
    options = f"{urlencode(request.options)}&" if request.options else ""
    order = "&order=desc" if request.descending else ""
    page = f"{url}?{options}limit={request.limit}{order}"
    links = [f'<{page}{ahead}>; rel="next"'] if has_ahead else []
    links += [f'<{page}{behind}>; rel="prev"'] if has_behind else []
    return ", ".join(links)
