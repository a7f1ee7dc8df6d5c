"""`rebuild_index` and `check_index` as an operator runs them."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from django.core.management import CommandError, call_command
from elasticsearch import ConnectionTimeout

from tests.children import child
from tests.integration.search.search_stores import SearchStores
from tests.polling import wait_until

NOWHERE = "http://127.0.0.1:9"


def indices() -> list[str]:
    from crud_service.search.index.elasticsearch_index import find_indices

    return [index.name for index in find_indices()]


def check(*options: str) -> None:
    call_command("check_index", *options)


@pytest.fixture
def indexed(search_stores: SearchStores, elasticsearch: None) -> SearchStores:
    search_stores.add(*[f"message number {i}" for i in range(300)])
    search_stores.index()
    return search_stores


@contextmanager
def rebuilding(environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run the command as a process; the block begins once it has created its index."""
    from django.conf import settings

    with child(
        [sys.executable, "-m", "crud_service.manage", "rebuild_index"],
        env={**os.environ, **environment, "ELASTICSEARCH_URL": settings.ELASTICSEARCH_URL},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(lambda: len(indices()) > 1 or process.poll() is not None, 60, pause=0.005)
        assert process.poll() is None, process.communicate()
        yield process


def test_a_rebuilt_index_replaces_the_old_one_and_holds_everything(indexed: SearchStores) -> None:
    before = indices()
    call_command("rebuild_index")
    after = indices()
    assert len(after) == 1
    assert after != before
    check()
    assert indexed.search("number 299").backend == "elasticsearch"


def test_changes_during_a_rebuild_reach_the_new_index(indexed: SearchStores) -> None:
    from crud_service.postgresql import INDEXER
    from crud_service.search.feed import rebuild
    from crud_service.stores.database import connect_as

    def change_meanwhile(_count: int) -> None:
        indexed.update(7, "changed meanwhile")
        indexed.add("came meanwhile")
        indexed.run_indexer()

    with connect_as(INDEXER) as connection:
        rebuild.rebuild(connection, change_meanwhile)
    check()
    assert indexed.find("meanwhile") == [301, 7]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_rebuild_leaves_nothing_behind(
    interruptible: None, indexed: SearchStores, clean_crud: dict[str, str], number: signal.Signals
) -> None:
    before = indices()
    with psycopg.connect(clean_crud["DATABASE_URL"]) as holding_it_up:
        holding_it_up.execute("SELECT FROM search_state FOR UPDATE")
        with rebuilding(clean_crud) as process:
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.splitlines()[-1] == "crud_service.manage: interrupted; it can be run again"
    assert indices() == before


def test_leftovers_of_a_killed_rebuild_are_removed_by_the_next(
    indexed: SearchStores, clean_crud: dict[str, str]
) -> None:
    from crud_service.search.feed.start_over import read_state
    from crud_service.search.index.elasticsearch_index import create_index, new_index_name

    create_index(new_index_name(), read_state(indexed.database).stack)
    call_command("rebuild_index")
    assert len(indices()) == 1
    check()


def test_leftovers_of_a_killed_rebuild_are_removed_by_the_indexer(indexed: SearchStores) -> None:
    from crud_service.search.feed.start_over import read_state
    from crud_service.search.index.elasticsearch_index import create_index, new_index_name

    create_index(new_index_name(), read_state(indexed.database).stack)
    indexed.add("a change")
    indexed.index_all()
    assert len(indices()) == 1
    check()


def test_only_one_rebuild_runs_at_a_time(indexed: SearchStores) -> None:
    from crud_service.postgresql import INDEXER
    from crud_service.search.feed import rebuild
    from crud_service.stores.database import connect_as

    errors: list[CommandError] = []

    def another(_count: int) -> None:
        with pytest.raises(CommandError) as error:
            call_command("rebuild_index")
        errors.append(error.value)

    with connect_as(INDEXER) as connection:
        rebuild.rebuild(connection, another)
    assert "another rebuild" in str(errors[0])


@pytest.fixture
def new_indexes_reject_documents(indexed: SearchStores) -> Iterator[None]:
    from crud_service.search.index.elasticsearch_index import client

    blocked = {"settings": {"index.blocks.write": True}}
    templates = client().indices
    templates.put_index_template(name="rejects", index_patterns=["messages-*"], template=blocked)
    yield
    templates.delete_index_template(name="rejects")


def building(stores: SearchStores) -> list[tuple[str]]:
    return stores.database.execute("SELECT building FROM search_state").fetchall()


def test_a_rebuild_whose_documents_are_rejected_says_so_and_leaves_nothing_behind(
    indexed: SearchStores, new_indexes_reject_documents: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crud_service.search.feed import rebuild

    monkeypatch.setattr(rebuild, "ATTEMPTS", 1)
    before = indices()
    with pytest.raises(CommandError, match=r"rejects 300 documents .* nothing was changed"):
        call_command("rebuild_index")
    assert indices() == before
    assert building(indexed) == [("",)]


def swap_without_an_answer(
    monkeypatch: pytest.MonkeyPatch, afterwards: Callable[[], object] = lambda: None
) -> None:
    """Have the alias swapped, but its answer lost."""
    from crud_service.search.feed import rebuild
    from crud_service.search.index.elasticsearch_index import swap_alias

    def swap(new: str, old: list[str]) -> None:
        swap_alias(new, old)
        afterwards()
        raise ConnectionTimeout("no answer")

    monkeypatch.setattr(rebuild, "swap_alias", swap)


def test_a_swap_whose_answer_is_lost_completes_the_rebuild(
    indexed: SearchStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = indices()
    swap_without_an_answer(monkeypatch)
    call_command("rebuild_index")
    assert len(indices()) == 1
    assert indices() != before
    check()


def test_a_swap_whose_outcome_is_unknown_does_not_say_that_nothing_was_changed(
    indexed: SearchStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.conf import settings

    url = settings.ELASTICSEARCH_URL

    def lose_elasticsearch() -> None:
        monkeypatch.setattr(settings, "ELASTICSEARCH_URL", NOWHERE)

    swap_without_an_answer(monkeypatch, lose_elasticsearch)
    with pytest.raises(CommandError, match="is unknown") as error:
        call_command("rebuild_index")
    assert "nothing was changed" not in str(error.value)
    assert building(indexed) == [("",)]
    monkeypatch.setattr(settings, "ELASTICSEARCH_URL", url)
    indexed.index_all()
    check()


def test_a_check_without_an_answer_of_elasticsearch_differs_from_one_that_finds_differences(
    indexed: SearchStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.conf import settings

    monkeypatch.setattr(settings, "ELASTICSEARCH_URL", NOWHERE)
    with pytest.raises(CommandError) as error:
        check()
    assert error.value.returncode == 2


def test_equal_indexes_pass_the_check(
    indexed: SearchStores, capsys: pytest.CaptureFixture[str]
) -> None:
    check()
    assert "300 messages checked, 0 of them pending" in capsys.readouterr().out


def test_changes_waiting_to_be_indexed_are_pending_and_not_differences(
    indexed: SearchStores, capsys: pytest.CaptureFixture[str]
) -> None:
    indexed.add("waits")
    indexed.update(3, "waits too")
    check()
    assert "301 messages checked, 2 of them pending" in capsys.readouterr().out


def damage_texts(stores: SearchStores) -> None:
    stores.database.execute("UPDATE search_texts SET marked = 'x' WHERE number = 5")
    stores.database.execute("DELETE FROM search_texts WHERE number = 6")
    stores.database.execute(
        "INSERT INTO search_texts"
        " SELECT chat_id, 999, 999999, 1, ' stray ' FROM search_texts LIMIT 1"
    )


def damage_documents(stores: SearchStores) -> None:
    from crud_service.search.feed.bulk import write_documents
    from crud_service.search.index.elasticsearch_index import client
    from crud_service.search.text.texts import Text

    rows = stores.database.execute(
        "SELECT chat_id, number, message_id, version, marked FROM search_texts"
        " WHERE number IN (8, 9, 10) ORDER BY number"
    ).fetchall()
    missing, other, newer = (Text(*row) for row in rows)
    write_documents(
        "messages",
        [
            Text(other.chat_id, other.number, other.message_id, 1, " other "),
            Text(newer.chat_id, newer.number, newer.message_id, 9, newer.marked),
            Text(newer.chat_id, 888, 888888, 1, " stray "),
        ],
        [missing.message_id],
    )
    client().indices.refresh(index="messages")


@pytest.mark.parametrize("damage", [damage_texts, damage_documents])
def test_differences_are_found_and_repaired(
    indexed: SearchStores,
    damage: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(indexed)  # type: ignore[operator]
    with pytest.raises(CommandError) as error:
        check("--repair")
    assert error.value.returncode == 1
    report = capsys.readouterr().out
    assert (": 3 differences" if damage is damage_texts else ": 4 differences") in report
    indexed.index()
    check()


def test_a_check_during_writes_reports_no_difference(
    indexed: SearchStores, clean_crud: dict[str, str]
) -> None:
    import psycopg

    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(clean_crud["DATABASE_URL"], autocommit=True) as database:
            while not stop.is_set():
                database.execute(
                    "UPDATE messages SET body = body || 'x', version = version + 1 WHERE number < 9"
                )
                time.sleep(0.01)

    def index() -> None:
        while not stop.is_set():
            indexed.run_indexer()

    threads = [threading.Thread(target=write), threading.Thread(target=index)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            check()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_without_elasticsearch_the_check_compares_postgresql_alone(
    search_stores: SearchStores, capsys: pytest.CaptureFixture[str]
) -> None:
    search_stores.add("hello")
    search_stores.index()
    check()
    assert "Elasticsearch" not in capsys.readouterr().out
    with pytest.raises(CommandError):
        call_command("rebuild_index")


def take_keys(stores: SearchStores) -> None:
    stores.database.execute("UPDATE search_blocks SET keys = keys[10:] WHERE block = 1")


def lose_block(stores: SearchStores) -> None:
    stores.database.execute("DELETE FROM search_blocks WHERE block = 2")


def cover_too_much(stores: SearchStores) -> None:
    stores.database.execute("UPDATE search_chats SET blocks = 1000")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (take_keys, "block 1 lacks grams"),
        (lose_block, "block 2 lacks grams"),
        (cover_too_much, "1000 of 27 blocks are covered"),
    ],
)
def test_damaged_blocks_are_found_and_repaired(
    search_stores: SearchStores,
    damage: Callable[[SearchStores], None],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    search_stores.add(*[f"number{i}z word" for i in range(1700)])
    search_stores.index()
    check()
    damage(search_stores)
    with pytest.raises(CommandError) as error:
        check("--repair")
    assert error.value.returncode == 1
    assert told in capsys.readouterr().out
    check()
    assert search_stores.find("umber130z") == [131]
    assert search_stores.find("umber1699z") == [1700]


def test_an_extra_gram_and_a_block_of_books_are_not_differences(
    search_stores: SearchStores,
) -> None:
    search_stores.add(*["short"] * 64, *["long text " * 1000] * 64, *["short"] * 1600)
    search_stores.index()
    search_stores.database.execute("UPDATE search_blocks SET keys = keys || '{x}'::text[]")
    check()
    search_stores.update(3, "book " * 12_000)
    search_stores.index()
    check()


def test_an_oversized_text_is_checked_message_by_message(search_stores: SearchStores) -> None:
    """A block whose messages became long after it was covered has their individual grams."""
    search_stores.add(*[f"number{i}" for i in range(1700)])
    search_stores.index()
    for number in range(65, 75):
        search_stores.update(number, f"number{number} " * 6000)
    search_stores.index()
    check()
    search_stores.database.execute("UPDATE search_blocks SET keys = keys[10:] WHERE block = 1")
    with pytest.raises(CommandError):
        check("--repair")
    check()


def test_a_check_reads_long_messages_a_few_at_a_time(
    search_stores: SearchStores,
) -> None:
    from crud_service.search.feed.check import Check
    from crud_service.search.feed.rebuild import read_pages

    search_stores.add(*["x" * 60_000] * 60)
    search_stores.index()
    steps: list[int] = []
    Check(search_stores.database, with_index=False, page_bytes=300_000).run(steps.append)
    assert sum(steps) == 60
    assert max(steps) <= 6
    pages = [len(page) for page in read_pages(search_stores.database, 300_000)]
    assert sum(pages) == 60
    assert max(pages) <= 6
