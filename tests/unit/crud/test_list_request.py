"""The query strings of lists: what their parameters mean, and what they exclude."""

import re
from urllib.parse import urlencode

import pytest

from contract.paths import MAX_NUMBER
from crud_service.api.lists.list_request import (
    ListRequest,
    activity_cursor,
    parse_list_request,
)
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
)
from web.problems import ValidationFailed


def requested(collection: Collection, query: str) -> ListRequest:
    return parse_list_request(ListRequest(collection, {}), query.encode())


def messages(query: str) -> ListRequest:
    return requested(MESSAGES, query)


def chats(query: str) -> ListRequest:
    return requested(CHATS, query)


def page(**fields: str) -> ListRequest:
    return messages(urlencode(fields))


def test_without_parameters_a_list_is_complete() -> None:
    for collection in (MESSAGES, CHATS, APPLICATIONS):
        assert requested(collection, "") == ListRequest(collection, {})


def test_each_list_ignores_the_parameters_of_the_other() -> None:
    assert chats("changed_after=x&wait=x") == ListRequest(CHATS, {})
    assert messages("sort=x&include=x&cursor=x") == ListRequest(MESSAGES, {})


def test_changes_are_complete_without_a_limit_and_a_page_with_one() -> None:
    changes = ListRequest(CHANGED_MESSAGES, {}, after="4")
    assert messages("changed_after=4") == changes
    assert messages("changed_after=4&limit=3") == changes._replace(limit=3)


@pytest.mark.parametrize("value", ["", "-1", "1.5", "x", "007", str(MAX_NUMBER + 1), "%00"])
def test_a_change_is_a_whole_number(value: str) -> None:
    with pytest.raises(ValidationFailed, match="changed_after: Must be a whole number from 0 to"):
        messages(f"changed_after={value}")


@pytest.mark.parametrize("other", ["after=1", "before=9", "order=asc", "order=desc"])
def test_neither_changes_nor_active_chats_have_another_order(other: str) -> None:
    with pytest.raises(ValidationFailed, match="changed_after: Must not be combined"):
        messages(f"changed_after=4&{other}")
    with pytest.raises(ValidationFailed, match="sort: Must not be combined"):
        chats(f"sort=-last_message&{other}")


@pytest.mark.parametrize("seconds", [0, 1, 9, 10, 59, 60])
def test_a_wait_of_up_to_a_minute_is_accepted(seconds: int) -> None:
    assert messages(f"wait={seconds}").wait == seconds
    assert messages(f"wait={seconds}&after=3&order=asc&limit=2").wait == seconds


@pytest.mark.parametrize("value", ["", "-1", "61", "1.5", "1e1", "01", "+1", "600", "x", "%D9%A1"])
def test_another_wait_is_refused(value: str) -> None:
    with pytest.raises(ValidationFailed, match="wait: Must be a whole number from 0 to 60"):
        messages(f"wait={value}")


@pytest.mark.parametrize("other", ["before=1", "changed_after=1", "order=desc"])
def test_only_messages_to_come_can_be_waited_for(other: str) -> None:
    with pytest.raises(ValidationFailed, match="wait: Must not be combined"):
        messages(f"wait=5&{other}")


@pytest.mark.parametrize(
    ("query", "collection"),
    [
        ("", CHATS),
        ("include=last_message", CHATS_AND_LAST_MESSAGES),
        ("sort=-last_message", ACTIVE_CHATS),
        ("sort=-last_message&include=last_message", ACTIVE_CHATS_AND_LAST_MESSAGES),
    ],
)
def test_chats_are_listed_by_number_or_activity_with_or_without_their_last_messages(
    query: str, collection: Collection
) -> None:
    assert chats(query).collection is collection


@pytest.mark.parametrize("value", ["", "last_message", "-number", "number", "-LAST_MESSAGE"])
def test_another_sort_is_refused(value: str) -> None:
    with pytest.raises(ValidationFailed, match="sort: Must be -last_message"):
        chats(f"sort={value}")


@pytest.mark.parametrize("value", ["", "messages", "last_message,last_message"])
def test_nothing_else_is_included(value: str) -> None:
    with pytest.raises(ValidationFailed, match="include: Must be last_message"):
        chats(f"include={value}")


@pytest.mark.parametrize("activity", [1, MAX_NUMBER, -MAX_NUMBER, -1, 4711])
def test_a_cursor_continues_below_its_chat(activity: int) -> None:
    cursor = activity_cursor(activity)
    assert re.fullmatch("[A-Za-z0-9_-]{11}", cursor)
    page = chats(f"sort=-last_message&cursor={cursor}")
    assert (page.limit, page.after, page.before) == (100, None, str(activity))
    assert page.descending


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "A" * 10, "A" * 12, "A" * 10 + "B", "A" * 10 + "=", "é" * 11, "A" * 10 + "+"],
)
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    for query in (f"sort=-last_message&cursor={cursor}", f"cursor={cursor}"):
        with pytest.raises(ValidationFailed, match="cursor: Must be a cursor"):
            chats(query.replace("é", "%C3%A9"))


def test_a_cursor_needs_its_order() -> None:
    with pytest.raises(ValidationFailed, match="cursor: Needs sort=-last_message"):
        chats(f"cursor={activity_cursor(1)}")


def test_unknown_parameters_do_not_make_a_page() -> None:
    assert page(name="x").limit is None


@pytest.mark.parametrize("limit", ["1", "1000"])
def test_a_limit_within_its_range_is_accepted(limit: str) -> None:
    assert page(limit=limit).limit == int(limit)


@pytest.mark.parametrize(
    "limit", ["", "0", "1001", "-1", "+1", "1.0", "1e2", "01", "\u0661", " 1", "abc", "99999"]
)
def test_a_limit_out_of_range_is_refused(limit: str) -> None:
    with pytest.raises(ValidationFailed, match="limit"):
        page(limit=limit)


@pytest.mark.parametrize("order", ["", "ASC", "up", "descending"])
def test_an_invalid_order_is_refused(order: str) -> None:
    with pytest.raises(ValidationFailed, match="order"):
        page(order=order)


@pytest.mark.parametrize("cursor", ["", "-1", "1.5", "x", "007", str(MAX_NUMBER + 1), "9" * 40])
@pytest.mark.parametrize("field", ["after", "before"])
def test_a_cursor_that_is_not_a_number_is_refused(field: str, cursor: str) -> None:
    with pytest.raises(ValidationFailed, match=field):
        page(**{field: cursor})


@pytest.mark.parametrize("token", ["", "1", "A" * 23, "A" * 25, "A" * 23 + "é"])
def test_a_cursor_that_is_not_a_token_is_refused(token: str) -> None:
    with pytest.raises(ValidationFailed, match="after"):
        requested(APPLICATIONS, urlencode({"after": token}))


@pytest.mark.parametrize(
    ("fields", "order"),
    [
        ({"limit": "5"}, ScanOrder()),
        ({"after": "5"}, ScanOrder()),
        ({"before": "5"}, ScanOrder(backward=True)),
        ({"after": "5", "before": "9"}, ScanOrder(bounded=True)),
        ({"order": "desc"}, ScanOrder(backward=True, descending=True)),
        ({"order": "desc", "before": "5"}, ScanOrder(backward=True, descending=True)),
        ({"order": "desc", "after": "5"}, ScanOrder(descending=True)),
    ],
)
def test_a_page_is_read_from_its_cursor(fields: dict[str, str], order: ScanOrder) -> None:
    assert page(**fields).scan_order == order


@pytest.mark.parametrize(
    ("fields", "bounds"),
    [
        ({"limit": "1"}, (1, MAX_NUMBER)),
        ({"after": "5", "before": "9"}, (6, 8)),
        ({"after": "5", "before": "6"}, (1, 0)),
        ({"after": str(MAX_NUMBER)}, (1, 0)),
        ({"before": "0"}, (1, 0)),
        ({"before": str(MAX_NUMBER)}, (1, MAX_NUMBER - 1)),
    ],
)
def test_bounds_are_exclusive_and_never_overflow(
    fields: dict[str, str], bounds: tuple[int, int]
) -> None:
    assert page(**fields).bounds == (str(bounds[0]), str(bounds[1]))


def test_keys_may_begin_below_1() -> None:
    assert ListRequest(ACTIVE_CHATS, {}, before="5").bounds == (str(-MAX_NUMBER), "4")
