"""Two actors that concurrently index, rebuild, start over or repair, stopped at every statement."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.integration.search.search_stores import SearchStores
from tests.integration.search.turns import pause, take_turns

MESSAGES = 150


@pytest.fixture(autouse=True)
def stops_before_elasticsearch(monkeypatch: pytest.MonkeyPatch) -> None:
    from crud_service.search.feed import bulk, queue

    for module, name in ((bulk, "send_once"), (queue, "find_indices")):
        monkeypatch.setattr(module, name, pausing(getattr(module, name)))


def pausing(function: Callable[..., Any]) -> Callable[..., Any]:
    def paused(*arguments: Any, **options: Any) -> Any:
        pause()
        return function(*arguments, **options)

    return paused


def prepare(stores: SearchStores) -> None:
    """A chat whose first blocks are about to be covered, with a hundred messages indexed."""
    stores.database.execute("TRUNCATE messages")
    stores.add(*[f"early number {i}" for i in range(MESSAGES - 50)])
    index_all(stores)
    stores.add(*[f"fresh number {i}" for i in range(50)])


def change(stores: SearchStores) -> None:
    """Make the changes of clients meanwhile."""
    stores.update(3, "changed quixotically")
    stores.update(70, "changed vividly")
    stores.update(MESSAGES, "changed zealously")
    stores.database.execute("DELETE FROM messages WHERE number IN (5, 120)")


def index_all(stores: SearchStores) -> None:
    from crud_service.search.index.elasticsearch_index import has_elasticsearch

    fold_all(stores.database)
    if has_elasticsearch():
        send_all(stores.database)


def fold_all(connection: Any, most_uncovered: int = 1) -> None:
    from crud_service.search.feed.outbox import index_batch
    from crud_service.search.index.blocks import Uncovered
    from crud_service.search.index.elasticsearch_index import has_elasticsearch

    uncovered = Uncovered(most_uncovered, 0)
    while index_batch(connection, hand_on=has_elasticsearch(), limit=40, uncovered=uncovered):
        pass


def send_all(connection: Any) -> None:
    from crud_service.search.feed.queue import index_queued, is_queue_empty

    while index_queued(connection, limit=60) or not is_queue_empty(connection):
        pass


def wrong(stores: SearchStores) -> list[str]:
    """Return the differences once everything is processed."""
    from crud_service.search.feed.check import Check
    from crud_service.search.feed.check_blocks import check_blocks
    from crud_service.search.index.elasticsearch_index import alias, client, has_elasticsearch

    index_all(stores)
    if has_elasticsearch():
        client().indices.refresh(index=alias())
    check = Check(stores.database, with_index=has_elasticsearch(), settle_seconds=0)
    report = check.run(lambda _count: None)
    check_blocks(stores.database, report, mend=False, settle_seconds=0)
    assert report.pending == 0
    return [*report.texts.samples, *report.documents.samples, *report.blocks.samples]


def schedules(first: Sequence[int], second: Sequence[int]) -> Iterator[list[tuple[int, int]]]:
    """Yield schedules: some steps of one actor, some of the other, then the first."""
    for one in first:
        for other in second:
            yield [(0, one), (1, other), (0, 999)]


def both_ways(first: Sequence[int], second: Sequence[int]) -> Iterator[list[tuple[int, int]]]:
    """Yield the schedules of two actors that do different things: either may begin."""
    for schedule in schedules(first, second):
        yield schedule
        yield [(1 - actor, steps) for actor, steps in schedule]


def try_all(
    stores: SearchStores,
    url: str,
    works: list[Callable[[Any], object]],
    turns: Iterator[list[tuple[int, int]]],
    before: Callable[[SearchStores], None] = lambda _stores: None,
) -> None:
    """Every schedule, with clients' changes where the first actor stops."""
    for schedule in turns:
        prepare(stores)
        before(stores)
        failed = take_turns(url, works, schedule, between=lambda: change(stores))
        assert not failed, schedule
        assert not wrong(stores), schedule


def test_two_indexers_leave_texts_and_blocks_equal_to_the_table(
    search_stores: SearchStores, clean_crud: dict[str, str]
) -> None:
    turns = schedules(range(1, 24), (9, 24))
    try_all(search_stores, clean_crud["DATABASE_URL"], [fold_all, fold_all], turns)
    assert search_stores.count("search_blocks") > 0


def test_a_text_that_changes_while_its_block_is_covered_is_found(
    search_stores: SearchStores, clean_crud: dict[str, str]
) -> None:
    """No text is written between reading the stamps of a block's texts and covering the block."""
    from crud_service.search.index import blocks

    def fold_only(connection: Any) -> None:
        fold_all(connection, most_uncovered=1000)

    stores = search_stores
    stores.add(*[f"early number {i}" for i in range(MESSAGES)])
    fold_only(stores.database)
    chat_id = stores.chat_id(1)

    def cover(connection: Any) -> None:
        blocks.cover_piece(connection.stopping_before(blocks.COVER_CHAT), chat_id, 0, 2)

    url = clean_crud["DATABASE_URL"]
    turns = [(0, 1), (1, 999), (0, 1)]
    failed = take_turns(url, [cover, fold_only], turns, lambda: stores.update(3, "quixotic"))
    assert not failed
    assert stores.find("ixoti") == [3]
    assert stores.count("search_blocks") == 3  # the late text brought a row of its own
    assert not wrong(stores)


def test_two_senders_leave_the_index_equal_to_the_table(
    search_stores: SearchStores, elasticsearch: None, clean_crud: dict[str, str]
) -> None:
    turns = schedules(range(1, 12, 3), range(2, 20, 9))
    url = clean_crud["DATABASE_URL"]
    try_all(search_stores, url, [send_all, send_all], turns, lambda it: fold_all(it.database))


def test_an_indexer_and_a_rebuild_leave_the_index_equal_to_the_table(
    search_stores: SearchStores, elasticsearch: None, clean_crud: dict[str, str]
) -> None:
    from crud_service.search.feed.rebuild import rebuild

    def build(connection: Any) -> None:
        rebuild(connection, lambda _count: None)

    def index(connection: Any) -> None:
        from crud_service.search.feed.bulk import IndexGone

        fold_all(connection)
        try:
            send_all(connection)
        except IndexGone:  # the loop around it tries again
            send_all(connection)

    turns = both_ways(range(2, 26, 6), range(4, 40, 20))
    try_all(search_stores, clean_crud["DATABASE_URL"], [index, build], turns)


def test_an_indexer_and_a_fresh_start_leave_the_index_equal_to_the_table(
    search_stores: SearchStores, elasticsearch: None, clean_crud: dict[str, str]
) -> None:
    from crud_service.search.index.elasticsearch_index import find_indices, remove_index

    def wipe(_stores: SearchStores) -> None:
        for index in find_indices():
            remove_index(index.name)

    def index(connection: Any) -> None:
        fold_all(connection)
        send_all(connection)

    turns = both_ways(range(2, 26, 6), range(4, 40, 20))
    try_all(search_stores, clean_crud["DATABASE_URL"], [index, send_all], turns, wipe)


def test_an_indexer_and_a_repair_leave_everything_equal_to_the_table(
    search_stores: SearchStores, elasticsearch: None, clean_crud: dict[str, str]
) -> None:
    from functools import partial

    from crud_service.search.feed.check import Check
    from crud_service.search.feed.check_blocks import check_blocks
    from crud_service.search.feed.refold import refold_some
    from crud_service.search.feed.repair import repair

    # What an unfinished walk has not reached yet is left to it, and not repaired.
    assert refold_some(search_stores.database, hand_on=False) == 0

    def damage(stores: SearchStores) -> None:
        stores.database.execute("UPDATE search_texts SET marked = ' x ' WHERE number IN (3, 7)")
        stores.database.execute("UPDATE search_blocks SET keys = keys[2:]")

    def mend(connection: Any) -> None:
        repairing = partial(repair, connection, tick_seconds=0.25)
        check = Check(connection, with_index=True, mend=repairing, settle_seconds=0)
        report = check.run(lambda _count: None)
        check_blocks(connection, report, mend=True, settle_seconds=0)

    def index(connection: Any) -> None:
        fold_all(connection)
        send_all(connection)

    turns = both_ways(range(2, 34, 8), range(4, 40, 20))
    try_all(search_stores, clean_crud["DATABASE_URL"], [index, mend], turns, damage)
