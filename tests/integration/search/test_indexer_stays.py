"""The indexer that stays: what wakes it, what it polls for, how it stops."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from contract.keys import DOORBELL_INDEX, LEASE_INDEX
from tests.integration.search.search_stores import SearchStores
from tests.polling import wait_until

StartIndexer = Callable[..., threading.Thread]


@pytest.fixture
def start_indexer(search_stores: SearchStores) -> Iterator[StartIndexer]:
    """Run the indexer as a worker does; it stops when its lease is taken away."""
    from crud_service.duties.lease import Lease, indexing
    from crud_service.search.feed import indexer
    from crud_service.search.index.doorbell import ring

    threads: list[threading.Thread] = []

    def start(**options: float) -> threading.Thread:
        run = partial(indexer.keep_indexed, search_stores.redis, **options)
        lease = Lease(search_stores.redis, indexing())
        threads.append(threading.Thread(target=run, args=(lease,)))
        threads[-1].start()
        wait_until(lambda: bool(search_stores.redis.exists(LEASE_INDEX)), 60)
        return threads[-1]

    yield start
    search_stores.redis.set(LEASE_INDEX, "the test")
    for thread in threads:
        while thread.is_alive():  # it may wait for a ring
            ring(search_stores.redis, "")
            thread.join(0.1)


def test_the_doorbell_wakes_an_indexer_that_waits(
    search_stores: SearchStores, start_indexer: StartIndexer
) -> None:
    from crud_service.search.index.doorbell import ring

    start_indexer(look_seconds=60.0)
    for number in range(1, 4):
        time.sleep(0.2)
        search_stores.add(f"message {number}")
        ring(search_stores.redis, "request")
        wait_until(lambda: search_stores.count("search_outbox") == 0, 30)
    assert not search_stores.redis.exists(DOORBELL_INDEX)


def test_a_change_without_a_ring_is_found_by_polling(
    search_stores: SearchStores, start_indexer: StartIndexer
) -> None:
    start_indexer()
    time.sleep(0.3)
    search_stores.add("written by hand")
    wait_until(lambda: search_stores.count("search_outbox") == 0, 60)


def test_an_indexer_that_lost_its_lease_stops(
    search_stores: SearchStores, start_indexer: StartIndexer
) -> None:
    thread = start_indexer()
    search_stores.redis.set(LEASE_INDEX, "another worker")
    thread.join(60)
    assert not thread.is_alive()
    assert search_stores.redis.get(LEASE_INDEX) == b"another worker"


def test_an_indexer_that_no_task_woke_looks_seldom_while_elasticsearch_does_not_answer(
    search_stores: SearchStores, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.conf import settings

    from crud_service.search.feed.outbox import index_batch

    looks = 0

    def fold(*arguments: Any, **options: Any) -> int:
        nonlocal looks
        looks += 1
        return index_batch(*arguments, **options)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(settings, "ELASTICSEARCH_URL", url)
        search_stores.add("apple")
        indexing = threading.Thread(target=partial(search_stores.run_indexer, fold=fold))
        indexing.start()
        time.sleep(2)
        assert indexing.is_alive()
    indexing.join(60)
    assert search_stores.count("search_outbox") == 0
    assert looks <= 6


def test_the_indexer_keeps_no_plans(search_stores: SearchStores) -> None:
    """Its connection persists; a plan made for small tables is bad once they are large."""
    from crud_service.postgresql import INDEXER
    from crud_service.search.feed.outbox import index_batch
    from crud_service.stores.database import connect_as

    with connect_as(INDEXER) as connection:
        for number in range(12):
            search_stores.add(f"message {number}")
            assert index_batch(connection, hand_on=False) == 1
        kept = connection.execute("SELECT statement FROM pg_prepared_statements").fetchall()
    assert kept == []
