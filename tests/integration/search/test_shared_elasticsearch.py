"""Several stacks on one Elasticsearch: none writes to or removes another's index."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.integration.search.search_stores import SearchStores
from tests.integration.search.turns import take_turns

OTHER = "00000000-0000-4000-8000-000000000000"


@contextmanager
def as_stack(stores: SearchStores, monkeypatch: pytest.MonkeyPatch, stack: str) -> Iterator[None]:
    """Act as another stack for the block, one without an index."""
    from crud_service.search.feed.outbox import FORGET_INDEX

    database = stores.database
    (row,) = database.execute("SELECT stack, index_name, index_format FROM search_state").fetchall()
    database.execute(FORGET_INDEX)
    database.execute("UPDATE search_state SET stack = %s", (stack,))
    try:
        yield
    finally:
        query = "UPDATE search_state SET stack = %s, index_name = %s, index_format = %s"
        database.execute(query, row)


def use_prefix(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    from django.conf import settings

    from crud_service.search.index import elasticsearch_index

    monkeypatch.setattr(settings, "SEARCH_INDEX", prefix)
    for index in elasticsearch_index.find_indices():
        elasticsearch_index.remove_index(index.name)


def names() -> list[str]:
    from crud_service.search.index.elasticsearch_index import find_indices

    return [index.name for index in find_indices()]


def start_over(stores: SearchStores) -> None:
    from crud_service.search.feed.queue import index_queued

    while index_queued(stores.database):
        pass


def test_a_stack_whose_alias_is_taken_leaves_it_alone_and_logs_it(
    search_stores: SearchStores,
    elasticsearch: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from crud_service.search.feed.queue import index_queued
    from crud_service.search.feed.start_over import AliasTaken

    search_stores.add("hello")
    search_stores.index()
    before = names()
    with as_stack(search_stores, monkeypatch, OTHER):
        with pytest.raises(AliasTaken):
            index_queued(search_stores.database)
        with pytest.raises(CommandError, match="another stack"):
            call_command("rebuild_index")
        assert search_stores.search("hello").backend == "postgresql"
        assert search_stores.find("hello") == [1]
    assert "change SEARCH_INDEX of one stack" in caplog.text
    assert names() == before
    assert search_stores.search("hello").backend == "elasticsearch"


def test_an_index_with_the_name_of_the_alias_is_left_alone_and_logged(
    search_stores: SearchStores, elasticsearch: None, caplog: pytest.LogCaptureFixture
) -> None:
    from crud_service.search.feed.queue import index_queued
    from crud_service.search.feed.start_over import AliasTaken
    from crud_service.search.index.elasticsearch_index import client

    client().indices.create(index="messages")
    try:
        search_stores.add("hello")
        with pytest.raises(AliasTaken):
            index_queued(search_stores.database)
        assert names() == ["messages"]
        assert "so its index messages is not touched" in caplog.text
    finally:
        client().indices.delete(index="messages")
    search_stores.index_all()
    assert search_stores.search("hello").backend == "elasticsearch"


def test_an_alias_that_another_stack_takes_at_the_same_moment_is_left_alone(
    search_stores: SearchStores, elasticsearch: None, clean_crud: dict[str, str]
) -> None:
    from crud_service.search.feed import start_over as module
    from crud_service.search.index.elasticsearch_index import (
        create_index,
        new_index_name,
        swap_alias,
    )

    theirs = new_index_name()

    def start_ours(connection: Any) -> None:
        module.start_over(connection.stopping_before(module.FOLLOW))

    def start_theirs(_connection: Any) -> None:
        create_index(theirs, OTHER)
        swap_alias(theirs, [])

    turns = [(0, 1), (1, 999)]
    failed = take_turns(clean_crud["DATABASE_URL"], [start_ours, start_theirs], turns)
    assert [type(error) for error in failed] == [module.AliasTaken]
    assert names() == [theirs]


def test_prefixes_with_a_common_beginning_do_not_collide(
    search_stores: SearchStores, elasticsearch: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for prefix in ("chat", "chat-a"):
        use_prefix(monkeypatch, prefix)
    search_stores.add("hello")
    search_stores.index()
    longer = names()
    from django.conf import settings

    monkeypatch.setattr(settings, "SEARCH_INDEX", "chat")
    start_over(search_stores)
    call_command("rebuild_index")
    assert len(names()) == 1
    monkeypatch.setattr(settings, "SEARCH_INDEX", "chat-a")
    assert names() == longer


def test_a_rebuild_removes_no_leftover_of_another_stack(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.index.elasticsearch_index import create_index, new_index_name

    search_stores.add("hello")
    search_stores.index()
    being_built = new_index_name()
    create_index(being_built, OTHER)
    call_command("rebuild_index")
    assert being_built in names()
    assert len(names()) == 2


def test_an_index_without_an_owner_is_replaced_by_its_stack(
    search_stores: SearchStores, elasticsearch: None
) -> None:
    from crud_service.search.index import elasticsearch_index as module

    old = module.new_index_name()
    module.client().indices.create(index=old, aliases={module.alias(): {"is_write_index": True}})
    search_stores.database.execute("UPDATE search_state SET owns_unmarked = true")
    search_stores.add("hello")
    search_stores.index()
    assert old not in names()
    assert search_stores.search("hello").backend == "elasticsearch"


@pytest.mark.parametrize(
    "value", ["Messages", "a,b", "-a", "a*", "..", "a/b", "x" * 101, "a-20261126150000-0af3"]
)
def test_a_prefix_that_could_not_work_is_refused_at_start(value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crud_service"],
        env={**os.environ, "SEARCH_INDEX": value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"crud_service refuses to start: SEARCH_INDEX is {value!r}: ")
