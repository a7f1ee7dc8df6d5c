"""The links of lists, and the last change that a page brings."""

from typing import Any

from crud_service.api.lists.list_answers import last_change
from crud_service.api.lists.list_request import ListRequest, activity_cursor, parse_list_request
from crud_service.api.lists.list_rows import Rows
from crud_service.api.lists.page_links import page_links
from crud_service.chat.list_queries import CHATS, MESSAGES

URL = "/list"


def messages(query: str) -> ListRequest:
    return parse_list_request(ListRequest(MESSAGES, {}), query.encode())


def chats(query: str) -> ListRequest:
    return parse_list_request(ListRequest(CHATS, {}), query.encode())


def found(**fields: Any) -> Rows:
    rows = {"total": 9, "items": b"{}", "last_key": 7, "lowest": b"3", "highest": b"7"}
    return Rows(**{**rows, "has_lower": True, "has_higher": True, "last_change": 12, **fields})


def test_a_page_in_the_middle_links_to_both_neighbours() -> None:
    assert page_links(URL, messages("limit=2"), found(lowest=b"3", highest=b"4")) == (
        '</list?limit=2&after=4>; rel="next", </list?limit=2&before=3>; rel="prev"'
    )


def test_a_descending_page_links_downwards_for_next() -> None:
    assert page_links(URL, messages("limit=2&order=desc"), found(lowest=b"3", highest=b"4")) == (
        '</list?limit=2&order=desc&before=3>; rel="next", '
        '</list?limit=2&order=desc&after=4>; rel="prev"'
    )


def test_the_first_and_last_page_have_no_neighbour_beyond() -> None:
    page = messages("limit=2")
    assert 'rel="prev"' not in page_links(URL, page, found(has_lower=False))
    assert 'rel="next"' not in page_links(URL, page, found(has_higher=False))


def test_following_links_between_two_bounds_keeps_the_far_one() -> None:
    bounded = messages("limit=2&after=2&before=9")
    assert "limit=2&after=4&before=9" in page_links(URL, bounded, found(lowest=b"3", highest=b"4"))


def test_a_page_of_changes_that_is_cut_short_ends_with_its_own_last_change() -> None:
    assert last_change(messages("changed_after=4&limit=3"), found()) == 7
    assert last_change(messages("changed_after=4&limit=3"), found(has_higher=False)) == 12
    assert last_change(messages("changed_after=4"), found()) == 12
    assert last_change(messages("limit=3"), found()) == 12
    assert last_change(chats("limit=3"), found(last_change=None)) is None


def test_links_continue_in_the_same_order() -> None:
    changes = messages("changed_after=4&limit=3")
    assert page_links(URL, changes, found()) == '</list?limit=3&changed_after=7>; rel="next"'
    assert page_links(URL, changes, found(has_higher=False)) == ""
    active = chats("sort=-last_message&include=last_message&limit=2")
    assert page_links(URL, active, found()) == (
        f"</list?sort=-last_message&include=last_message&limit=2&cursor={activity_cursor(3)}>"
        '; rel="next"'
    )
    assert page_links(URL, active, found(has_lower=False)) == ""
    by_number = chats("include=last_message&limit=2")
    assert page_links(URL, by_number, found()) == (
        '</list?include=last_message&limit=2&after=7>; rel="next", '
        '</list?include=last_message&limit=2&before=3>; rel="prev"'
    )
    assert page_links(URL, chats("include=last_message"), found()) == ""
