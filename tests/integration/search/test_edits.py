"""Edits of messages in blocks that are covered."""

from tests.integration.search.search_stores import SearchStores
from tests.integration.search.test_gaps import wrong_blocks


def test_rows_of_a_block_do_not_grow_with_the_number_of_edits(search_stores: SearchStores) -> None:
    from crud_service.search.feed.outbox import index_batch
    from crud_service.search.index.blocks import Uncovered
    from crud_service.search.index.scattered_blocks import MOST_ROWS

    search_stores.add(*[f"message {i}" for i in range(130)])
    index_batch(search_stores.database, hand_on=False, uncovered=Uncovered(1, 0))
    covered = search_stores.count("search_blocks")
    for edit in range(MOST_ROWS + 10):
        search_stores.update(7, f"quixotic {edit}")
        index_batch(search_stores.database, hand_on=False)
    assert search_stores.count("search_blocks") < covered + MOST_ROWS
    assert search_stores.find("ixotic") == [7]
    assert not wrong_blocks(search_stores)
