"""The parameters of lists of messages and of chats: what they mean, and what they exclude."""

import re
from typing import Any

import pytest

from contract.paths import MAX_NUMBER
from crud_service.api.lists.list_request import (
    ListRequest,
    activity_cursor,
    last_change,
    page_links,
    parse_list_request,
)
from crud_service.api.lists.page_links import Page, Rows
from crud_service.chat.list_queries import (
    ACTIVE_CHATS,
    ACTIVE_CHATS_AND_LAST_MESSAGES,
    CHANGED_MESSAGES,
    CHATS,
    CHATS_AND_LAST_MESSAGES,
    MESSAGES,
    Collection,
)
from web.problems import ValidationFailed

URL = "/list"


def messages(query: str) -> ListRequest:
    return parse_list_request(MESSAGES, query)


def chats(query: str) -> ListRequest:
    return parse_list_request(CHATS, query)


def rows(**fields: Any) -> Rows:
    found = {"total": 9, "items": b"{}", "last_key": 7, "lowest": b"3", "highest": b"7"}
    return Rows(**{**found, "fewer": True, "more": True, "changes": 12, **fields})


def test_without_parameters_a_list_is_complete() -> None:
    for collection in (MESSAGES, CHATS):
        assert parse_list_request(collection, "") == ListRequest(collection, None)


def test_each_list_ignores_the_parameters_of_the_other() -> None:
    assert chats("changed_after=x&wait=x") == ListRequest(CHATS, None)
    assert messages("sort=x&include=x&cursor=x") == ListRequest(MESSAGES, None)


def test_changes_are_complete_without_a_limit_and_a_page_with_one() -> None:
    assert messages("changed_after=4") == ListRequest(CHANGED_MESSAGES, None, after="4")
    page = Page(limit=3, after="4", before=None, descending=False)
    assert messages("changed_after=4&limit=3").page == page


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
    page = chats(f"sort=-last_message&cursor={cursor}").page
    assert page == Page(limit=100, after=None, before=str(activity), descending=True)


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "A" * 10, "A" * 12, "A" * 10 + "B", "A" * 10 + "=", "é" * 11, "A" * 10 + "+"],
)
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    for query in (f"sort=-last_message&cursor={cursor}", f"cursor={cursor}"):
        with pytest.raises(ValidationFailed, match="cursor: Must be a cursor"):
            parse_list_request(CHATS, query.replace("é", "%C3%A9"))


def test_a_cursor_needs_its_order() -> None:
    with pytest.raises(ValidationFailed, match="cursor: Needs sort=-last_message"):
        chats(f"cursor={activity_cursor(1)}")


def test_a_page_of_changes_that_is_cut_short_ends_with_its_own_last_change() -> None:
    assert last_change(messages("changed_after=4&limit=3"), rows()) == 7
    assert last_change(messages("changed_after=4&limit=3"), rows(more=False)) == 12
    assert last_change(messages("changed_after=4"), rows()) == 12
    assert last_change(messages("limit=3"), rows()) == 12
    assert last_change(chats("limit=3"), rows(changes=None)) is None


def test_links_continue_in_the_same_order() -> None:
    changes = messages("changed_after=4&limit=3")
    assert page_links(URL, changes, rows()) == '</list?limit=3&changed_after=7>; rel="next"'
    assert page_links(URL, changes, rows(more=False)) == ""
    active = chats("sort=-last_message&include=last_message&limit=2")
    assert page_links(URL, active, rows()) == (
        f"</list?sort=-last_message&include=last_message&limit=2&cursor={activity_cursor(3)}>"
        '; rel="next"'
    )
    assert page_links(URL, active, rows(fewer=False)) == ""
    by_number = chats("include=last_message&limit=2")
    assert page_links(URL, by_number, rows()) == (
        '</list?include=last_message&limit=2&after=7>; rel="next", '
        '</list?include=last_message&limit=2&before=3>; rel="prev"'
    )
    assert page_links(URL, chats("include=last_message"), rows()) == ""
