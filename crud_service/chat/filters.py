"""Filters of messages, by sender and by time: of lists and of searches alike.

Times are compared as clients see them, in whole milliseconds. There is no index of times: messages
are numbered in the order of time, with a slack that each chat knows (`chats.time_slack`), so a
time is translated to numbers, and the filter itself decides near the ends (decision 26).
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from contract.entries import EPOCH
from contract.paths import MAX_NUMBER
from web.fields import check_sender
from web.problems import ValidationFailed

SENDER, CREATED_AFTER, CREATED_BEFORE = "sender", "created_after", "created_before"
FILTERS = (SENDER, CREATED_AFTER, CREATED_BEFORE)
# For a message x; the values are parameters of the same names.
_CONDITIONS = {
    SENDER: "x.sender = %(sender)s",
    CREATED_AFTER: "x.created_at >= %(created_after)s::timestamptz + interval '1 millisecond'",
    CREATED_BEFORE: "x.created_at < %(created_before)s::timestamptz",
}
_SLACK = "{chat}.time_slack * interval '1 millisecond'"
# The numbers of a chat among which those that pass are, inclusive.
_SINCE = f"""number_at(
    {{chat}}.id, %(created_after)s::timestamptz + interval '1 millisecond' - {_SLACK})"""
_UNTIL = f"number_at({{chat}}.id, %(created_before)s::timestamptz + {_SLACK}) - 1"
# In a query string a plus sign is a space, unless it is escaped. A leap second is :60.
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):\d\d:)([0-5]\d|60)(?:\.(\d+))?"
    r"(?:([Zz])|([+ -](?:[01]\d|2[0-3]):[0-5]\d))",
    re.ASCII,
)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST = datetime.min.replace(tzinfo=UTC) - EPOCH
_LAST = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC) - EPOCH

Filters = Mapping[str, str]


def check_created_after(value: object) -> str:
    """Return a time in whole milliseconds; a message's time is after both or after neither."""
    return _check_time(CREATED_AFTER, value, up=False)


def check_created_before(value: object) -> str:
    """Return a time in whole milliseconds; a message's time is before both or before neither."""
    return _check_time(CREATED_BEFORE, value, up=True)


_CHECKS: Mapping[str, Callable[[object], str]] = {
    SENDER: check_sender,
    CREATED_AFTER: check_created_after,
    CREATED_BEFORE: check_created_before,
}


def parse_filters(fields: Mapping[str, object]) -> dict[str, str]:
    """Return the valid filters among some fields; raises ValidationFailed (422)."""
    return {name: check(fields[name]) for name, check in _CHECKS.items() if name in fields}


def _check_time(field: str, value: object, *, up: bool) -> str:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        try:
            return _in_utc(match, up=up).isoformat(timespec="milliseconds")
        except ValueError:
            pass
    raise ValidationFailed(field, "Must be a time with a zone, as in 2022-08-09T22:17:52.599Z.")


def _in_utc(match: re.Match[str], *, up: bool) -> datetime:
    """Return a time in UTC, as PostgreSQL knows fewer zones than RFC 3339; raises ValueError.

    A time outside the years 1 to 9999 in UTC becomes the first or the last one in them: there is
    no message between the two.
    """
    date, time, seconds, fraction, utc, offset = match.groups(default="")
    is_leap = seconds == "60"
    zone = "+00:00" if utc else offset.replace(" ", "+")
    local = datetime.fromisoformat(f"{date}T{time}{'59' if is_leap else seconds}{zone}")
    in_fraction = int(f"{fraction}000"[:3]) + (up and bool(fraction[3:].strip("0")))
    since_epoch = local - EPOCH + (in_fraction + 1000 * is_leap) * _MILLISECOND
    return EPOCH + max(_FIRST, min(since_epoch, _LAST))


def conditions(names: Iterable[str]) -> str:
    """Return the SQL of filters of a message x, to be appended to another condition."""
    return "".join(f" AND {_CONDITIONS[name]}" for name in names)


def by_time(names: Iterable[str]) -> bool:
    """Whether a filter by time is among some filters."""
    return not {CREATED_AFTER, CREATED_BEFORE}.isdisjoint(names)


def range_columns(names: Collection[str], chat: str) -> str:
    """Return the SQL of two columns, `since` and `until`, of a chat with id and time_slack.

    No message before the number `since`, or behind `until`, passes the filters by time.
    """
    since = _SINCE.format(chat=chat) if CREATED_AFTER in names else "NULL"
    until = _UNTIL.format(chat=chat) if CREATED_BEFORE in names else "NULL"
    return f"coalesce({since}, 1) AS since, coalesce({until}, {MAX_NUMBER}) AS until"


def milliseconds(time: str) -> int:
    """Return a checked time as milliseconds since 1970."""
    return (datetime.fromisoformat(time) - EPOCH) // _MILLISECOND
