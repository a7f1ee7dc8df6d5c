"""Lists of messages by sender and by time, with pages, links, totals and changes."""

import httpx
import pytest

from tests.integration.crud.test_lists import numbers, walk
from tests.integration.crud_rows import Database, add_chat_of

ANN = [number for number in range(1, 31) if number % 3 == 0]


@pytest.fixture
def messages(database: Database, application: str) -> str:
    """Thirty messages, a second apart; every third is of Ann, every fifth of somebody else."""
    chat = add_chat_of(database, application, 30)
    database.execute(
        """
        UPDATE messages SET
            created_at = timestamptz '2022-08-09T22:00:00Z' + number * interval '1s',
            sender = CASE WHEN number % 3 = 0 THEN 'Ann' WHEN number % 5 = 0 THEN 'ann' END
        """
    )
    database.execute("UPDATE chats SET changes = 0")
    database.execute("UPDATE messages SET change = 0")
    return f"{chat}/messages"


def at(second: int) -> str:
    return f"2022-08-09T22:00:{second:02}Z"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sender=Ann", ANN),
        ("sender=ann", [5, 10, 20, 25]),
        ("sender=An", []),
        (f"created_after={at(28)}", [29, 30]),
        (f"created_before={at(3)}", [1, 2]),
        (f"created_after={at(10)}&created_before={at(12)}", [11]),
        (f"created_after={at(12)}&created_before={at(10)}", []),
        (f"sender=Ann&created_after={at(9)}&created_before={at(18)}", [12, 15]),
        ("created_after=2022-08-10T00:00:28%2B02:00", [29, 30]),
    ],
)
def test_a_list_has_what_passes_its_filters(
    http: httpx.Client, messages: str, query: str, found: list[int]
) -> None:
    for more in ("", "&limit=100", "&after=0"):
        answer = http.get(f"{messages}?{query}{more}")
        assert numbers(answer) == found
        assert answer.headers["X-Total-Count"] == str(len(found))
        assert "Link" not in answer.headers
    assert numbers(http.get(f"{messages}?{query}&order=desc")) == found[::-1]


@pytest.mark.parametrize("rel", ["next", "prev"])
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_links_keep_the_filters(http: httpx.Client, messages: str, rel: str, order: str) -> None:
    upwards = (order == "asc") == (rel == "next")
    start = "" if rel == "next" else ("&before=28" if order == "asc" else "&after=2")
    query = f"sender=Ann&created_after={at(4)}&limit=2&order={order}{start}"
    pages = walk(http, f"{messages}?{query}", rel)
    seen = [number for page in pages for number in sorted(page, reverse=not upwards)]
    expected = [number for number in ANN if number > 4 and not (rel == "prev" and number == 30)]
    if rel == "prev" and order == "desc":
        expected = [number for number in ANN if number > 4]
    assert seen == (expected if upwards else expected[::-1])


def test_a_page_between_two_numbers_is_filtered(http: httpx.Client, messages: str) -> None:
    answer = http.get(f"{messages}?sender=Ann&after=3&before=15&limit=2")
    assert numbers(answer) == [6, 9]
    assert numbers(http.get(answer.links["next"]["url"])) == [12]
    assert answer.headers["X-Total-Count"] == "10"


def test_a_long_filtered_list_is_complete(
    http: httpx.Client, database: Database, application: str
) -> None:
    chat = add_chat_of(database, application, 2500)
    database.execute("UPDATE messages SET sender = 'Ann' WHERE number % 2 = 0")
    assert numbers(http.get(f"{chat}/messages?sender=Ann")) == list(range(2, 2501, 2))


def test_changes_are_filtered_and_continued_from_the_same_place(
    http: httpx.Client, database: Database, messages: str
) -> None:
    for number in (9, 4, 6, 3):
        http.put(f"{messages}/{number}", json={"metadata": {"a": number}})
    answer = http.get(f"{messages}?changed_after=0&sender=Ann")
    assert numbers(answer) == [9, 6, 3]
    assert answer.headers["X-Last-Change"] == "4"
    assert answer.headers["X-Total-Count"] == "10"
    page = http.get(f"{messages}?changed_after=0&sender=Ann&limit=1")
    assert (numbers(page), page.headers["X-Last-Change"]) == ([9], "1")
    following = http.get(page.links["next"]["url"])
    assert (numbers(following), following.headers["X-Last-Change"]) == ([6], "3")


@pytest.mark.parametrize("slack", ["NULL", "0"])
def test_the_total_of_changes_is_that_of_the_list(
    http: httpx.Client, database: Database, messages: str, slack: str
) -> None:
    """A list of changes has the total of the whole list, and a filter does not alter which.

    Where the slack is known and no number is missing, nothing is counted.
    """
    database.execute(f"UPDATE chats SET time_slack = {slack}")
    http.put(f"{messages}/9", json={"metadata": {"a": 1}})
    since = f"created_after={at(10)}"
    for query, total in ((since, "20"), ("sender=Ann", "10"), (f"sender=Ann&{since}", "7")):
        for changes in ("", "&changed_after=0&limit=1"):
            answer = http.get(f"{messages}?{query}{changes}")
            assert answer.headers["X-Total-Count"] == total


@pytest.mark.parametrize(
    "query",
    ["sender=", "sender=%00", "created_after=", "created_before=2022-08-09", "created_after=1"],
)
def test_a_bad_filter_is_422(http: httpx.Client, messages: str, query: str) -> None:
    for path in (messages, f"{messages}/search"):
        answer = http.get(f"{path}?keyword=x&{query}")
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("created_after=2022-08-10T21:59:28%2B23:59", [29, 30]),
        ("created_before=2022-08-08T22:00:03-23:59", []),
        ("created_after=0001-01-01T00:00:00%2B23:59&limit=1", [1]),
        ("created_before=9999-12-31T23:59:59-23:59&limit=1", [1]),
        ("created_before=9999-12-31T23:59:60.999999999Z&limit=1", [1]),
    ],
)
def test_every_zone_of_rfc_3339_is_known(
    http: httpx.Client, messages: str, query: str, found: list[int]
) -> None:
    """PostgreSQL itself knows none beyond 15:59:59."""
    assert numbers(http.get(f"{messages}?{query}")) == found
    assert http.get(f"{messages}/search?keyword=message&{query}").status_code == 200
