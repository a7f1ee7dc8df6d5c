"""Filters of messages, by sender and by time: of lists and of searches alike."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from web.fields import check_sender
from web.problems import ValidationFailed

SENDER, CREATED_AFTER, CREATED_BEFORE = "sender", "created_after", "created_before"
FILTERS = (SENDER, CREATED_AFTER, CREATED_BEFORE)
# For a message x; the values are parameters of the same names.
_CONDITIONS = {
    SENDER: "x.sender = %(sender)s",
    CREATED_AFTER: "x.created_at > %(created_after)s::timestamptz",
    CREATED_BEFORE: "x.created_at < %(created_before)s::timestamptz",
}
# In a query string a plus sign is a space, unless it is escaped.
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:([Zz])|([+ -]\d\d:\d\d))", re.ASCII
)
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Filters = Mapping[str, str]


def parse_filters(fields: Mapping[str, object]) -> dict[str, str]:
    """Return the valid filters among some fields; raises ValidationFailed (422)."""
    filters = {}
    if SENDER in fields:
        filters[SENDER] = check_sender(fields[SENDER])
    if CREATED_AFTER in fields:
        filters[CREATED_AFTER] = check_created_after(fields[CREATED_AFTER])
    if CREATED_BEFORE in fields:
        filters[CREATED_BEFORE] = check_created_before(fields[CREATED_BEFORE])
    return filters


def check_created_after(value: object) -> str:
    """Return a time in whole milliseconds; a message's time is after both or after neither."""
    return _check_time(CREATED_AFTER, value, up=False)


def check_created_before(value: object) -> str:
    """Return a time in whole milliseconds; a message's time is before both or before neither."""
    return _check_time(CREATED_BEFORE, value, up=True)


def _check_time(field: str, value: object, *, up: bool) -> str:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        date, time, fraction, utc, offset = match.groups(default="")
        try:
            moment = datetime.fromisoformat(
                f"{date}T{time}{'+00:00' if utc else offset.replace(' ', '+')}"
            )
            in_fraction = int(f"{fraction}000"[:3]) + (up and bool(fraction[3:].strip("0")))
            return (moment + in_fraction * _MILLISECOND).isoformat(timespec="milliseconds")
        except (ValueError, OverflowError):
            pass
    raise ValidationFailed(field, "Must be a time with a zone, as in 2022-08-09T22:17:52.599Z.")


def conditions(names: Iterable[str]) -> str:
    """Return the SQL of filters of a message x, to be appended to another condition."""
    return "".join(f" AND {_CONDITIONS[name]}" for name in names)


def milliseconds(time: str) -> int:
    """Return a checked time as milliseconds since 1970."""
    return (datetime.fromisoformat(time) - _EPOCH) // _MILLISECOND
