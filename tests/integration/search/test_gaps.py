"""Gaps between the numbers of a chat's messages, as an import may leave them, cost nothing."""

from tests.integration.search.search_stores import SearchStores

FAR = 10**12


def add(stores: SearchStores, number: int, body: str) -> None:
    query = "INSERT INTO messages (chat_id, number, body) VALUES (%s, %s, %s)"
    stores.database.execute(query, (stores.chat_id(1), number, body))


def set_covered(stores: SearchStores, blocks: int) -> None:
    stores.database.execute("UPDATE search_chats SET blocks = %s", (blocks,))


def covered(stores: SearchStores) -> int:
    [(blocks,)] = stores.database.execute("SELECT blocks FROM search_chats").fetchall()
    return int(blocks)


def wrong_blocks(stores: SearchStores) -> list[str]:
    from crud_service.search.feed.check_blocks import check_blocks
    from crud_service.search.feed.check_report import Report

    report = Report()
    check_blocks(stores.database, report, mend=False, settle_seconds=0)
    return report.blocks.samples


def test_blocks_cover_a_gap_at_once(search_stores: SearchStores) -> None:
    add(search_stores, 1, "the first apple")
    add(search_stores, FAR, "an apple far away")
    search_stores.index()
    assert covered(search_stores) == (FAR - 1) // 64 - 8
    assert search_stores.count("search_blocks") == 1
    assert search_stores.find("apple") == [FAR, 1]
    add(search_stores, 10**6, "an apple in the gap")
    search_stores.index()
    assert search_stores.find("apple") == [FAR, 10**6, 1]
    assert search_stores.find("appl", sort="number") == [1, 10**6, FAR]
    assert wrong_blocks(search_stores) == []


def test_what_is_not_covered_is_found_behind_a_gap(search_stores: SearchStores) -> None:
    """Blocks are covered in batches, so some beyond a gap may remain."""
    add(search_stores, 1, "the first apple")
    search_stores.index()
    for number in (64 * 64, 64 * 64 + 1, 10**6, 10**6 + 1, FAR):
        add(search_stores, number, f"apple {number}")
    search_stores.index()
    set_covered(search_stores, 64)
    assert search_stores.find("apple 1", sort="number") == [10**6, 10**6 + 1, FAR]
    assert search_stores.find("apple")[-1] == 1
