"""PUT: what changes, what does not, and that no change is lost."""

import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import psycopg
import pytest

from tests.integration.crud_rows import Database, add_chat_of, lock_waits
from tests.polling import wait_until

VERSIONS = "SELECT version, (SELECT count(*) FROM search_outbox) FROM messages WHERE number = 1"


@pytest.fixture
def message(database: Database, application: str) -> str:
    path = add_chat_of(database, application, 1, "before")
    database.execute("TRUNCATE search_outbox")
    return f"{path}/messages/1"


def versions(database: Database) -> tuple[int, int]:
    """The message's version, and how many changes wait to be indexed."""
    row = database.execute(VERSIONS).fetchone()
    assert row is not None
    return row[0], row[1]


def last_change(http: httpx.Client, message: str) -> str:
    """The number of the last change of a message's chat."""
    return http.get(message.removesuffix("/1")).headers["X-Last-Change"]


def test_a_new_name_is_returned_and_kept(http: httpx.Client, application: str) -> None:
    before = http.get(application).json()
    answer = http.put(application, json={"name": "  kept to the letter  "})
    assert answer.status_code == 200
    assert answer.json()["name"] == "  kept to the letter  "
    assert answer.json()["updated_at"] > before["updated_at"]
    assert answer.json()["created_at"] == before["created_at"]
    assert http.get(application).content == answer.content


def test_a_new_body_bumps_the_version_and_goes_to_the_index(
    http: httpx.Client, database: Database, message: str
) -> None:
    answer = http.put(message, json={"body": "after"})
    assert (answer.status_code, answer.json()["body"]) == (200, "after")
    assert http.get(message).headers["ETag"] == answer.headers["ETag"]
    assert versions(database) == (2, 1)


def test_the_same_body_changes_nothing(
    http: httpx.Client, database: Database, message: str
) -> None:
    before = http.get(message)
    answer = http.put(message, json={"body": "before"})
    assert (answer.status_code, answer.content) == (200, before.content)
    assert answer.headers["ETag"] == before.headers["ETag"]
    assert versions(database) == (1, 0)


def test_the_same_name_changes_nothing(http: httpx.Client, application: str) -> None:
    before = http.get(application)
    answer = http.put(application, json={"name": "An application"})
    assert (answer.status_code, answer.content) == (200, before.content)


def test_updated_at_grows_even_when_the_clock_was_set_back(
    http: httpx.Client, database: Database, message: str
) -> None:
    database.execute("UPDATE messages SET updated_at = '2099-01-01T00:00:00Z'")
    answer = http.put(message, json={"body": "after"})
    assert answer.json()["updated_at"] == "2099-01-01T00:00:00.001Z"


@pytest.mark.parametrize(
    ("earlier", "expected", "then"),
    [
        ("body = 'another', version = 2", 200, (3, 2)),
        ("body = 'after', version = 2", 200, (2, 1)),
        ("body = '', version = 2, deleted_at = now()", 409, (2, 1)),
    ],
    ids=["another text", "the same text", "a tombstone"],
)
def test_a_change_that_waits_for_another_is_one_of_what_that_leaves(
    http: httpx.Client,
    database: Database,
    message: str,
    clean_crud: dict[str, str],
    earlier: str,
    expected: int,
    then: tuple[int, int],
) -> None:
    with ThreadPoolExecutor(1) as pool, psycopg.connect(clean_crud["DATABASE_URL"]) as first:
        first.execute(f"UPDATE messages SET {earlier}")
        put = pool.submit(http.put, message, json={"body": "after"})
        wait_until(lambda: lock_waits(database) == 1, 30)
        first.commit()
        assert put.result().status_code == expected
    assert versions(database) == then


def test_a_client_with_the_current_state_gets_304_without_a_body(
    http: httpx.Client, message: str
) -> None:
    tag = http.get(message).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = http.get(message, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == tag
        assert "Content-Type" not in answer.headers
    assert http.get(message, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_change_based_on_another_state_is_refused_and_changes_nothing(
    http: httpx.Client, database: Database, message: str, application: str
) -> None:
    for path, fields in ((message, {"body": "after"}), (application, {"name": "after"})):
        before = http.get(path).content
        answer = http.put(path, json=fields, headers={"If-Match": '"of another state"'})
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
        assert http.get(path).content == before
    assert versions(database) == (1, 0)
    assert last_change(http, message) == "0"


def test_a_change_based_on_the_current_state_is_made(http: httpx.Client, message: str) -> None:
    tag = http.get(message).headers["ETag"]
    given = {"If-Match": f'"other", {tag}'}
    assert http.put(message, json={"body": "after"}, headers=given).status_code == 200
    assert http.put(message, json={"body": "again"}, headers={"If-Match": "*"}).status_code == 200


def test_if_match_on_a_missing_resource_is_404(http: httpx.Client, message: str) -> None:
    answer = http.put(f"{message}0", json={"body": "x"}, headers={"If-Match": "*"})
    assert answer.status_code == 404


def test_concurrent_changes_with_if_match_never_lose_one(http: httpx.Client, message: str) -> None:
    """Each client adds its mark to what it read, and tries again when refused."""
    http.put(message, json={"body": "start"})
    begin = threading.Barrier(8)

    def add_marks(name: int) -> None:
        begin.wait()
        for turn in range(5):
            while True:
                read = http.get(message)
                changed = {"body": f"{read.json()['body']} {name}.{turn}"}
                given = {"If-Match": read.headers["ETag"]}
                answer = http.put(message, json=changed, headers=given)
                if answer.status_code == 200:
                    break
                assert answer.status_code == 412

    with ThreadPoolExecutor(8) as clients:
        list(clients.map(add_marks, range(8)))
    marks = http.get(message).json()["body"].split()[1:]
    assert sorted(marks) == sorted(f"{name}.{turn}" for name in range(8) for turn in range(5))


@pytest.mark.parametrize("header", ["*", "{tag}", "W/{tag}", '"other", {tag}'])
def test_if_none_match_with_the_current_state_is_412_and_changes_nothing(
    http: httpx.Client, message: str, application: str, header: str
) -> None:
    for path, fields in ((message, {"body": "after"}), (application, {"name": "after"})):
        before = http.get(path)
        known = header.format(tag=before.headers["ETag"])
        answer = http.put(path, json=fields, headers={"If-None-Match": known})
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
        assert http.get(path).content == before.content


def test_both_conditions_of_a_change_have_to_hold(http: httpx.Client, message: str) -> None:
    tag = http.get(message).headers["ETag"]
    both = {"If-Match": tag, "If-None-Match": tag}
    assert http.put(message, json={"body": "after"}, headers=both).status_code == 412
    given = {"If-Match": tag, "If-None-Match": '"of another state"'}
    assert http.put(message, json={"body": "after"}, headers=given).status_code == 200
    missing = http.put(f"{message}0", json={"body": "x"}, headers={"If-None-Match": "*"})
    assert missing.status_code == 404
