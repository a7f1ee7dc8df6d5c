"""Filters: which times are accepted, and what they mean to the millisecond."""

import pytest

from crud_service.chat.filters import (
    check_created_after,
    check_created_before,
    milliseconds,
    parse_filters,
)
from web.problems import ValidationFailed

GOOD = {
    "2022-08-09T22:17:52Z": 1660083472000,
    "2022-08-09t22:17:52z": 1660083472000,
    "2022-08-09 22:17:52.5Z": 1660083472500,
    "2022-08-10T00:17:52.599+02:00": 1660083472599,
    "2022-08-10T00:17:52.599 02:00": 1660083472599,
    "2022-08-09T12:17:52.599-10:00": 1660083472599,
    "1969-12-31T23:59:59.999Z": -1,
    "2022-08-09T22:17:52.599-00:00": 1660083472599,
    "2022-08-10T22:16:52+23:59": 1660083472000,
    "2022-08-08T22:18:52-23:59": 1660083472000,
    "2016-12-31T23:59:60Z": 1483228800000,
    "2016-12-31T18:59:60.250-05:00": 1483228800250,
}
# Times that are out of range in UTC, or as whole milliseconds, and the nearest that are not.
EXTREMES = {
    "0001-01-01T00:00:00+14:00": -62135596800000,
    "0001-01-01T00:00:00+23:59": -62135596800000,
    "9999-12-31T23:59:59.9999Z": 253402300799999,
    "9999-12-31T23:59:60Z": 253402300799999,
    "9999-12-31T23:59:59-23:59": 253402300799999,
}
BAD = [
    *(None, 5, "", "yesterday", "2022-08-09", "2022-08-09T22:17:52", "1660083472"),
    *("2022-08-09T22:17Z", "2022-13-09T22:17:52Z", "2022-08-09T25:17:52Z", "2022-8-9T1:1:1Z"),
    *("2022-08-09T22:17:52+0200", "2022-08-09T22:17:52+25:00", "0000-01-01T00:00:00Z"),
    *("2022-08-09T22:17:52Z\n", "\uff12022-08-09T22:17:52Z", "2022-08-09T22:17:52.Z"),
    *("2022-08-09T22:17:52+01:60", "2022-08-09T22:17:52+24:00", "2022-08-09T24:00:00Z"),
    "2022-08-09T22:17:61Z",
]


@pytest.mark.parametrize("time", GOOD)
def test_a_time_with_a_zone_is_accepted(time: str) -> None:
    for check in (check_created_after, check_created_before):
        assert milliseconds(check(time)) == GOOD[time]


@pytest.mark.parametrize("time", EXTREMES)
def test_a_time_before_or_after_all_messages_is_brought_into_range(time: str) -> None:
    assert milliseconds(check_created_before(time)) == EXTREMES[time]
    assert milliseconds(check_created_after(time)) == EXTREMES[time]


@pytest.mark.parametrize("time", BAD)
def test_anything_else_is_refused(time: object) -> None:
    with pytest.raises(ValidationFailed, match="created_before"):
        parse_filters({"created_before": time})
    with pytest.raises(ValidationFailed, match="created_after"):
        parse_filters({"created_after": time})


@pytest.mark.parametrize("digits", ["0001", "5", "999999999999"])
def test_parts_of_a_millisecond_decide_as_if_messages_had_them(digits: str) -> None:
    """A message of .599 is before .5990001 and not after it; one of .600 is after it."""
    time = f"2022-08-09T22:17:52.599{digits}Z"
    assert milliseconds(check_created_after(time)) == 1660083472599
    assert milliseconds(check_created_before(time)) == 1660083472600


def test_only_filters_are_taken_and_checked() -> None:
    assert parse_filters({"limit": "x", "sender": "Ann"}) == {"sender": "Ann"}
    assert parse_filters({}) == {}
    for sender in ("", " ", "x" * 256, "\x00"):
        with pytest.raises(ValidationFailed, match="sender"):
            parse_filters({"sender": sender})
