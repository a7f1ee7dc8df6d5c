"""Pages of lists: parsing, direction of reading, links to neighbours."""

import pytest

from contract.paths import MAX_NUMBER, TOKEN_PATTERN
from crud_service.api.lists.page_links import (
    NUMBER_CURSOR,
    Page,
    Rows,
    links,
    number_bounds,
    parse_page,
)
from crud_service.chat.list_queries import ScanOrder
from web.problems import ValidationFailed

URL = "/list"


def page(**fields: str) -> Page:
    parsed = parse_page(fields, NUMBER_CURSOR)
    assert parsed is not None
    return parsed


def rows(lowest: int, highest: int, *, fewer: bool = True, more: bool = True) -> Rows:
    return Rows(1000, b"{}", highest, b"%d" % lowest, b"%d" % highest, fewer, more)


def test_no_parameter_means_the_complete_list() -> None:
    assert parse_page({}, NUMBER_CURSOR) is None


def test_unknown_parameters_do_not_make_a_page() -> None:
    assert parse_page({"name": "x"}, NUMBER_CURSOR) is None


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
        parse_page({"after": token}, TOKEN_PATTERN)


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
    assert page(**fields).order == order


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
    after, before = fields.get("after"), fields.get("before")
    assert number_bounds(after, before) == (str(bounds[0]), str(bounds[1]))


def test_keys_may_begin_below_1() -> None:
    assert number_bounds(None, "5", -MAX_NUMBER) == (str(-MAX_NUMBER), "4")


def test_a_page_in_the_middle_links_to_both_neighbours() -> None:
    assert links(URL, page(limit="2"), rows(3, 4)) == (
        '</list?limit=2&after=4>; rel="next", </list?limit=2&before=3>; rel="prev"'
    )


def test_a_descending_page_links_downwards_for_next() -> None:
    assert links(URL, page(limit="2", order="desc"), rows(3, 4)) == (
        '</list?limit=2&order=desc&before=3>; rel="next", '
        '</list?limit=2&order=desc&after=4>; rel="prev"'
    )


def test_the_first_and_last_page_have_no_neighbour_beyond() -> None:
    assert 'rel="prev"' not in links(URL, page(limit="2"), rows(1, 2, fewer=False))
    assert 'rel="next"' not in links(URL, page(limit="2"), rows(1, 2, more=False))


def test_following_links_between_two_bounds_keeps_the_far_one() -> None:
    bounded = page(limit="2", after="2", before="9")
    assert "limit=2&after=4&before=9" in links(URL, bounded, rows(3, 4))
