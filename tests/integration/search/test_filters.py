"""Searches by sender and by time, with the same results on both backends."""

from collections.abc import Callable

import pytest

from tests.integration.search.search_stores import TOKEN, SearchStores, items

COUNT = 1700
TIMES = """
UPDATE messages SET created_at = timestamptz '2022-08-09T00:00:00Z' + number * interval '1s',
    sender = CASE WHEN number % 3 = 0 THEN 'Ann "é"' WHEN number % 5 = 0 THEN 'bob' END
"""


def at(second: int) -> str:
    return f"2022-08-09T00:{second // 60:02}:{second % 60:02}.000+00:00"


@pytest.fixture
def filled(any_backend: SearchStores) -> SearchStores:
    any_backend.add(*(f"hi everybody number{i % 10}" for i in range(1, COUNT + 1)))
    any_backend.database.execute(TIMES)
    any_backend.index_all()
    return any_backend


FILTERS: list[tuple[dict[str, str], Callable[[int], object]]] = [
    ({"sender": 'Ann "é"'}, lambda number: number % 3 == 0),
    ({"sender": "bob"}, lambda number: number % 5 == 0 and number % 3),
    ({"sender": "nobody"}, lambda number: False),
    ({"created_after": at(1690)}, lambda number: number > 1690),
    ({"created_before": at(70)}, lambda number: number < 70),
    (
        {"sender": "bob", "created_after": at(60), "created_before": at(1600)},
        lambda number: number % 5 == 0 and number % 3 and 60 < number < 1600,
    ),
]


@pytest.mark.parametrize("sort", ["relevance", "number", "-number"])
def test_a_search_finds_what_passes_its_filters(filled: SearchStores, sort: str) -> None:
    for keyword, digit in (("hi", None), ("number7", 7), ("ber3", 3), ("body numb", None)):
        for filters, passes in FILTERS:
            expected = [
                number
                for number in range(1, COUNT + 1)
                if passes(number) and digit in (None, number % 10)
            ]
            if sort != "number":
                expected.reverse()
            found = filled.find(keyword, sort=sort, limit=1000, filters=filters)
            assert found == expected[:1000], (keyword, filters)


def test_pages_of_a_filtered_search_follow_one_another(filled: SearchStores) -> None:
    from crud_service.search.query.search import SearchQuery, search_messages
    from web.problems import ValidationFailed

    filters = {"sender": "bob", "created_before": at(200)}
    found: list[int] = []
    cursor = None
    while True:
        query = SearchQuery("hi", limit=4, cursor=cursor, filters=filters)
        page = search_messages(TOKEN, 1, query)
        found += [item["number"] for item in items(page)]
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert found == [n for n in range(199, 0, -1) if n % 5 == 0 and n % 3]
    with pytest.raises(ValidationFailed, match="cursor"):
        search_messages(TOKEN, 1, SearchQuery("hi", cursor=cursor, filters={"sender": "bob"}))


CHANGES = ["UPDATE messages SET sender = 'ann'", f"UPDATE messages SET created_at = '{at(5)}'"]


@pytest.mark.parametrize("change", CHANGES, ids=["sender", "time"])
def test_a_sender_or_time_changed_by_a_statement_is_found(
    any_backend: SearchStores, change: str
) -> None:
    any_backend.add("apple", "apple pie")
    any_backend.index_all()
    any_backend.database.execute(f"{change} WHERE number = 2")
    any_backend.index_all()
    filters = {"sender": "ann"} if "sender" in change else {"created_before": at(10)}
    assert any_backend.find("apple", filters=filters) == [2]


def test_a_sender_of_more_messages_than_are_listed_is_found_among_all_of_them(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.query.narrowing import MOST_NUMBERS

    search_stores.add(*["hi"] * (MOST_NUMBERS + 1), "hi at last")
    search_stores.database.execute("UPDATE messages SET sender = 'ann'")
    search_stores.index()
    newest = MOST_NUMBERS + 2
    assert search_stores.find("hi last", filters={"sender": "ann"}) == [newest]
    assert search_stores.find("hi", sort="-number", limit=2, filters={"sender": "ann"}) == [
        newest,
        newest - 1,
    ]
