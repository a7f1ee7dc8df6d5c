"""After an upgrade every stored text is folded by the new rules, in the background."""

import os
import sys
import unicodedata
from functools import partial
from typing import Any

from crud_service.search.feed.check_report import Report
from crud_service.search.index.blocks import UNCOVERED, Uncovered
from crud_service.search.text import folding
from tests.children import child
from tests.integration.search.search_stores import SearchStores
from tests.integration.search.turns import take_turns
from tests.polling import wait_until

REFOLD_SLOWLY = """
import time
from crud_service.postgresql import INDEXER
from crud_service.search.feed.refold import refold_some
from crud_service.search.index.elasticsearch_index import has_elasticsearch
from crud_service.stores.database import connect_as
with connect_as(INDEXER) as connection:
    while refold_some(connection, hand_on=has_elasticsearch(), rows=20):
        time.sleep(0.05)
"""


def mark_as_before(body: str) -> str:
    """The folding of an older version, in which standalone Korean letters merged."""
    return folding.mark(unicodedata.normalize("NFKC", body))


def index_as_before(stores: SearchStores, *bodies: str, uncovered: Uncovered = UNCOVERED) -> None:
    """Store and index messages as an older version did."""
    from crud_service.search.feed.outbox import index_batch
    from crud_service.search.index.elasticsearch_index import has_elasticsearch

    stores.database.execute(f"UPDATE search_refold SET done_format = {folding.TEXT_FORMAT}")
    stores.add(*bodies)
    hand_on = has_elasticsearch()
    while index_batch(stores.database, hand_on=hand_on, mark=mark_as_before, uncovered=uncovered):
        pass
    stores.index_all()
    stores.database.execute("UPDATE search_refold SET done_format = 1, format = 1, chat_id = 9")


def walk(stores: SearchStores) -> tuple[int, int, int, int]:
    """Return the row that records how far the texts have been refolded."""
    query = "SELECT done_format, format, chat_id, number FROM search_refold"
    ((done_format, text_format, chat_id, number),) = stores.database.execute(query).fetchall()
    return done_format, text_format, chat_id, number


def has_refolded(stores: SearchStores, number: int) -> bool:
    """Whether the walk has begun and come to this message."""
    _, text_format, _, reached = walk(stores)
    return text_format == folding.TEXT_FORMAT and reached >= number


def outdated(stores: SearchStores) -> int:
    from crud_service.search.feed.refold import COUNT_OUTDATED

    row = stores.database.execute(f"SELECT {COUNT_OUTDATED % 1000}").fetchone()
    assert row is not None
    return int(row[0])


def checked(stores: SearchStores) -> Report:
    from crud_service.search.feed.check import Check

    check = Check(stores.database, with_index=False, settle_seconds=0)
    return check.run(lambda _count: None)


def test_texts_of_an_older_version_are_found_by_the_new_rules_after_a_while(
    any_backend: SearchStores, backend: str
) -> None:
    index_as_before(any_backend, "웃겨 ㅋㅋㅠㅠ", *["filler"] * 500)
    assert any_backend.find("ㅠㅠ") == []
    assert outdated(any_backend) == 501
    any_backend.index_all()
    assert outdated(any_backend) == 0
    assert walk(any_backend)[0] == folding.TEXT_FORMAT
    page = any_backend.search("ㅠㅠ")
    assert page.backend == backend
    assert any_backend.find("ㅠㅠ") == [1]
    assert any_backend.find("큐") == []


def test_a_killed_walk_continues_where_it_was(
    any_backend: SearchStores, clean_crud: dict[str, str]
) -> None:
    from django.conf import settings

    index_as_before(any_backend, *["ㅋㅋㅠㅠ filler"] * 2000)
    assert any_backend.count("search_blocks") > 0
    with child(
        [sys.executable, "-m", "crud_service.manage", "shell", "-c", REFOLD_SLOWLY],
        env={**os.environ, **clean_crud, "ELASTICSEARCH_URL": settings.ELASTICSEARCH_URL},
    ) as process:
        wait_until(
            lambda: has_refolded(any_backend, 200) or process.poll() is not None, 60, pause=0.01
        )
        assert process.poll() is None
        process.kill()
    stopped_at = walk(any_backend)
    assert 200 <= stopped_at[3] < 2000
    assert outdated(any_backend) == min(1000, 2000 - stopped_at[3])
    any_backend.index_all()
    assert any_backend.find("ㅋㅠ", limit=1000) == list(range(2000, 1000, -1))
    assert any_backend.find("ㅋㅠ", limit=1000, sort="number") == list(range(1, 1001))
    query = "SELECT count(*) FROM search_blocks GROUP BY chat_id, block HAVING count(*) > 1"
    assert any_backend.database.execute(query).fetchall() == []
    assert not checked(any_backend).differs


def test_old_texts_are_folded_while_changes_keep_coming(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed import refold
    from crud_service.search.feed.outbox import index_batch

    index_as_before(search_stores, *["ㅠㅠ"] * 3 * refold.PIECE_ROWS)
    left: list[int] = []

    def index_another(*arguments: Any, **options: Any) -> int:
        if len(left) < 10:
            left.append(outdated(search_stores))
            search_stores.add("fresh", chat=2)
        return index_batch(*arguments, **options)

    search_stores.index_all(fold=index_another)
    assert left[0] == 3 * refold.PIECE_ROWS
    assert left[-1] == 0


def test_old_texts_are_folded_while_others_wait_for_elasticsearch(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed.refold import refold_some

    def refold() -> int:
        return refold_some(search_stores.database, hand_on=True, rows=10, max_queued=5)

    index_as_before(search_stores, *["ㅠㅠ"] * 30)
    search_stores.database.execute(
        "INSERT INTO search_queue (application_id, message_id, chat_id, number, changed_at)"
        " SELECT 1, i, 1, i, now() FROM generate_series(1, 100) AS i"
    )
    assert refold() == 10
    # What the walk itself has queued is waited for.
    assert refold() == 0
    search_stores.database.execute("DELETE FROM search_queue WHERE application_id = 0")
    assert refold() == 10


def test_no_text_is_folded_again_during_a_rebuild(search_stores: SearchStores) -> None:
    """The version stays the same, so the rebuild could overwrite the new copy with an older one."""
    from crud_service.postgresql import INDEXER
    from crud_service.search.feed.rebuild import rebuild_lock
    from crud_service.search.feed.refold import refold_some
    from crud_service.stores.database import connect_as

    index_as_before(search_stores, "ㅠㅠ")
    with connect_as(INDEXER) as other, rebuild_lock(other):
        assert refold_some(search_stores.database, hand_on=True) == 0
    assert refold_some(search_stores.database, hand_on=True) == 1


def test_a_message_changed_or_deleted_since_is_left_to_its_own_change(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed.refold import refold_some

    index_as_before(search_stores, "ㅠㅠ", "ㅋㅋ", "ㅎㅎ")
    search_stores.update(1, "ㅅㅅ")
    search_stores.database.execute("DELETE FROM messages WHERE number = 2")
    search_stores.database.execute("CREATE TEMP TABLE kept AS SELECT * FROM search_outbox")
    search_stores.database.execute("DELETE FROM search_outbox")
    assert refold_some(search_stores.database, hand_on=False) == 3
    columns = "message_id, chat_id, number, changed_at"
    search_stores.database.execute(
        f"INSERT INTO search_outbox ({columns}) SELECT {columns} FROM kept"
    )
    search_stores.index_all()
    assert [search_stores.find(keyword) for keyword in ("ㅅㅅ", "ㅠㅠ", "ㅋㅋ", "ㅎㅎ")] == [
        [1],
        [],
        [],
        [3],
    ]


def test_only_texts_that_fold_to_something_else_are_written_and_sent(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed.refold import refold_some

    index_as_before(search_stores, "ㅠㅠ", *["filler"] * 99)
    search_stores.database.execute("DELETE FROM search_queue")
    assert refold_some(search_stores.database, hand_on=True) == 100
    assert search_stores.count("search_queue") == 1


def test_a_piece_is_bounded_in_bytes(search_stores: SearchStores) -> None:
    from crud_service.search.feed.refold import PIECE_BYTES, refold_some

    index_as_before(search_stores, *["ㅠ" * 21_000] * 20)
    assert refold_some(search_stores.database, hand_on=False) == PIECE_BYTES // 63_000 + 1


def test_another_format_restarts_the_walk(search_stores: SearchStores) -> None:
    from crud_service.search.feed import refold

    index_as_before(search_stores, *["ㅠㅠ"] * 30)
    assert refold.refold_some(search_stores.database, hand_on=False, rows=10) == 10
    refold_again = partial(
        refold.refold_some, hand_on=False, rows=10, text_format=folding.TEXT_FORMAT + 1
    )
    for looked_at in (10, 10, 10, 0, 0):
        assert refold_again(search_stores.database) == looked_at
    search_stores.database.execute("UPDATE search_refold SET done_format = 1")


def test_check_index_counts_outdated_texts_as_pending(search_stores: SearchStores) -> None:
    index_as_before(search_stores, "ㅠㅠ", "b", "ㅋㅋ")
    report = checked(search_stores)
    assert (report.differs, report.pending) == (False, 2)
    search_stores.database.execute(f"UPDATE search_refold SET done_format = {folding.TEXT_FORMAT}")
    report = checked(search_stores)
    assert (report.differs, report.pending) == (True, 0)


def test_two_walkers_and_clients_changes_leave_all_folded_by_the_new_rules(
    search_stores: SearchStores, clean_crud: dict[str, str]
) -> None:
    """Stopped at every statement, while an indexer stores clients' changes."""
    from crud_service.search.feed import refold
    from crud_service.search.feed.outbox import index_batch

    uncovered = Uncovered(1, 0)

    def refold_all(connection: Any) -> None:
        while refold.refold_some(connection, hand_on=False, rows=60):
            pass

    def change() -> None:
        search_stores.update(3, "ㅅㅅ")
        search_stores.database.execute("UPDATE messages SET body = 'ㅎㅎ' WHERE number = 4")
        search_stores.database.execute("DELETE FROM messages WHERE number = 5")

    def index_and_refold(connection: Any) -> None:
        index_batch(connection, hand_on=False, uncovered=uncovered)
        refold_all(connection)

    for steps in (*range(1, 18, 3), 40):
        search_stores.database.execute("TRUNCATE messages")
        index_as_before(search_stores, *["ㅋㅋㅠㅠ"] * 130, uncovered=uncovered)
        turns = [(0, steps), (1, 999), (0, 999)]
        url = clean_crud["DATABASE_URL"]
        assert not take_turns(url, [refold_all, index_and_refold], turns, change), steps
        assert outdated(search_stores) == 0
        assert [search_stores.find(it) for it in ("ㅅ", "ㅎ")] == [[3], [4]], steps
        assert len(search_stores.find("ㅋㅠ", limit=1000)) == 127, steps
        report = checked(search_stores)
        assert (report.differs, report.pending) == (False, 0), steps
