"""`check_index` while an index is being filled."""

import pytest
from django.core.management import CommandError, call_command

from tests.integration.search.search_stores import SearchStores


def lose_documents(stores: SearchStores) -> None:
    from crud_service.search.feed.bulk import write_documents

    rows = stores.database.execute("SELECT id FROM messages").fetchall()
    write_documents("messages", [], [message_id for (message_id,) in rows], refresh=True)


def test_texts_not_queued_yet_for_a_new_index_are_pending_and_not_differences(
    search_stores: SearchStores, elasticsearch: None, capsys: pytest.CaptureFixture[str]
) -> None:
    search_stores.add("apple", "pear", "plum")
    search_stores.index_all()
    lose_documents(search_stores)
    filled = "UPDATE search_state SET fill_chat = %s, fill_number = 1"
    search_stores.database.execute(filled, (search_stores.chat_id(1),))
    with pytest.raises(CommandError):
        call_command("check_index")
    out = capsys.readouterr().out
    assert "3 messages checked, 2 of them pending" in out
    assert "Elasticsearch: 1 differences" in out
