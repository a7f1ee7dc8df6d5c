"""Nothing is built on a write to Redis that replicas do not have."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from contract import keys
from contract.shards import ONLY
from tests.integration.accepting import TOKEN, accept, accept_many, accept_raw, bodies, query
from tests.integration.numbering.surroundings import Valkey, freeze, primary_and_replica
from tests.links import Links
from tests.polling import eventually, wait_until

Pair = tuple[Valkey, Valkey]


@pytest.fixture
def pair(
    clean_crud: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pair]:
    """A primary and its replica, which has to acknowledge; crud_service uses them."""
    from django.conf import settings

    from crud_service.chat.announcements import announcer
    from crud_service.stores.redis_clients import api_redis, hint_redis

    def forget_clients() -> None:
        for of_an_address in (api_redis, hint_redis, announcer):
            of_an_address.cache_clear()

    with primary_and_replica(tmp_path) as servers:
        monkeypatch.setattr(settings, "REPLICAS_TO_ACKNOWLEDGE", 1)
        monkeypatch.setattr(settings, "REDIS_URL", servers[0].url)
        forget_clients()
        yield servers
        api_redis(0).close()
        hint_redis().close()
        forget_clients()


@pytest.fixture
def drain(pair: Pair) -> Callable[[], None]:
    """Runs the task's own function until the stream is empty, or cannot be stored."""

    def run() -> None:
        from crud_service.persist.drain import drain_accepted

        drain_accepted(pair[0].client)

    return run


@pytest.fixture
def drain_all(pair: Pair, drain: Callable[[], None]) -> Callable[[], None]:
    """Runs it until the stream is empty: on a busy machine a replica acknowledges late."""

    def is_drained() -> bool:
        drain()
        return int(pair[0].client.xlen(keys.ACCEPTED)) == 0

    def run() -> None:
        wait_until(is_drained, 60)

    return run


def until_acknowledged(write: Callable[[], object]) -> None:
    """Repeat a write until a replica acknowledges it in time, which it does not if it is busy."""
    from crud_service.stores.replicated_writes import NotAcknowledgedError
    from web.problems import StoreUnavailable

    def is_acknowledged() -> bool:
        try:
            write()
        except (NotAcknowledgedError, StoreUnavailable):
            return False
        return True

    wait_until(is_acknowledged, 60)


def until_refused(wait: Callable[[], object], reason: str) -> None:
    """Repeat what is never acknowledged until that is for a reason, and not a busy replica's."""
    from crud_service.stores.replicated_writes import NotAcknowledgedError

    def refusal() -> str:
        with pytest.raises(NotAcknowledgedError) as refused:
            wait()
        return str(refused.value)

    assert reason in eventually(refusal, lambda given: reason in given, 60)


@contextmanager
def frozen_replica(pair: Pair) -> Iterator[None]:
    """The replica stands still; at the end it has everything again."""
    primary, replica = pair
    freeze(replica.pid)
    try:
        yield
    finally:
        replica.thaw()
        with primary.client.pipeline(transaction=False) as pipeline:
            pipeline.set("awake", 1)
            pipeline.wait(1, 10_000)
            pipeline.execute()


def test_a_worker_leaves_an_idle_primary_that_lost_its_replicas(
    pair: Pair, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is alive, and so is every connection to it; new connections lead to the new primary."""
    from django import db

    from crud_service.duties.lease import Lease, persisting
    from crud_service.persist.drain import persist_accepted
    from crud_service.stores.redis_clients import connect_worker

    former, promoted = pair
    primary = former
    stopping = threading.Event()
    monkeypatch.setattr("crud_service.persist.drain.stopping", stopping)
    (tmp_path / "third").mkdir()
    with Links() as links, Valkey(tmp_path / "third") as third:
        third.follow(former.client)
        url = f"redis://127.0.0.1:{links.add(lambda: primary.port).port}/0"
        redis, lease_redis = connect_worker(url=url), connect_worker(url=url)
        lease = Lease(lease_redis, persisting())

        def sweep() -> None:
            while not stopping.is_set():
                persist_accepted(redis, lease)
            db.connection.close()  # this thread's own

        worker = threading.Thread(target=sweep)
        worker.start()
        try:
            accept(former.client, 1, "before")
            wait_until(lambda: bodies(database) == [(1, "before")], 60)
            promoted.client.replicaof("NO", "ONE")
            third.client.replicaof("127.0.0.1", promoted.port)
            primary = promoted
            wait_until(lambda: bool(promoted.client.role()[2]), 60)
            accept(promoted.client, 2, "after")
            wait_until(lambda: len(bodies(database)) == 2, 60)
        finally:
            stopping.set()
            worker.join()
            redis.close()
            lease_redis.close()


def test_what_no_replica_has_is_not_stored(
    pair: Pair, database: str, drain: Callable[[], None], drain_all: Callable[[], None]
) -> None:
    with frozen_replica(pair):
        accept(pair[0].client, 1, "hello")
        drain()
        assert bodies(database) == []
        assert pair[0].client.xlen(keys.ACCEPTED) == 1
    drain_all()
    assert bodies(database) == [(1, "hello")]
    assert pair[0].client.xlen(keys.ACCEPTED) == 0


def test_a_batch_whose_lease_was_lost_meanwhile_is_not_acknowledged(
    pair: Pair, database: str
) -> None:
    from crud_service.duties.lease import Lease, persisting
    from crud_service.persist.accepted import Batch, fill
    from crud_service.persist.acknowledged_batch import wait_for_replicas

    client = pair[0].client
    lease = Lease(client, persisting())
    accept(client, 1, "another worker's by now")
    assert lease.take()
    batch = fill(client, Batch())
    client.set(keys.LEASE_PERSIST, "another worker")
    until_refused(lambda: wait_for_replicas(client, lease, batch), "lease was lost")


def test_a_batch_is_acknowledged_by_the_server_that_it_was_read_from(
    pair: Pair, database: str
) -> None:
    """The connection may have been opened again, to a promoted replica that lacks the batch."""
    from crud_service.duties.lease import Lease, persisting
    from crud_service.persist.accepted import Batch, fill
    from crud_service.persist.acknowledged_batch import wait_for_replicas

    client = pair[0].client
    lease = Lease(client, persisting())
    entry_id = accept(client, 1, "of the former primary")
    batch = fill(client, Batch())
    until_acknowledged(lambda: wait_for_replicas(client, lease, batch))
    client.delete(keys.ACCEPTED)
    until_refused(lambda: wait_for_replicas(client, lease, batch), "does not have it")
    accept(client, 1, "of the new primary", entry_id=entry_id)
    until_refused(lambda: wait_for_replicas(client, lease, batch), "does not have it")


def test_a_batch_of_two_servers_is_acknowledged_by_neither(pair: Pair, database: str) -> None:
    """The connection may have been opened again between two pages of the batch, too."""
    from crud_service.duties.lease import Lease, persisting
    from crud_service.persist.accepted import PAGE, Batch, fill
    from crud_service.persist.acknowledged_batch import wait_for_replicas

    client = pair[0].client
    lease = Lease(client, persisting())
    accept_many(client, 0, PAGE + 1)
    batch = fill(client, Batch())
    until_acknowledged(lambda: wait_for_replicas(client, lease, batch))
    [(end, _)] = client.xrange(keys.ACCEPTED, count=PAGE)[-1:]
    client.xdel(keys.ACCEPTED, end)
    until_refused(lambda: wait_for_replicas(client, lease, batch), "does not have it")


def test_a_batch_that_ends_with_an_unreadable_entry_is_acknowledged_too(
    pair: Pair, database: str, drain_all: Callable[[], None]
) -> None:
    accept(pair[0].client, 1, "hello")
    accept_raw(pair[0].client, {"unknown": b"\xff"})
    drain_all()
    assert bodies(database) == [(1, "hello")]
    assert query(database, "SELECT count(*) FROM set_aside_entries") == [(1,)]


def test_a_deletion_waits_for_its_mark_on_a_replica(
    pair: Pair, database: str, drain_all: Callable[[], None]
) -> None:
    from crud_service.api.deleting import delete_chat
    from crud_service.api.etags import Preconditions
    from web.problems import StoreUnavailable

    accept(pair[0].client, 1, chat="")
    drain_all()
    with frozen_replica(pair), pytest.raises(StoreUnavailable, match="nothing was changed"):
        delete_chat(TOKEN, 1, Preconditions())
    assert query(database, "SELECT deleted_at FROM chats") == [(None,)]
    until_acknowledged(lambda: delete_chat(TOKEN, 1, Preconditions()))
    assert query(database, "SELECT count(*) FROM chats WHERE deleted_at IS NOT NULL") == [(1,)]
    assert pair[1].client.exists(keys.message_sequence(TOKEN, 1))


def test_a_rotation_waits_for_its_mark_on_a_replica(pair: Pair) -> None:
    from crud_service.chat.rotations import retire
    from crud_service.stores.replicated_writes import NotAcknowledgedError

    with frozen_replica(pair), pytest.raises(NotAcknowledgedError):
        retire(pair[0].client, TOKEN)
    until_acknowledged(lambda: retire(pair[0].client, TOKEN))
    pair[1].client.replicaof("NO", "ONE")
    assert pair[1].client.get(keys.chat_sequence(TOKEN)) == keys.DELETED.encode()


def test_a_client_leaves_a_primary_that_became_a_replica(pair: Pair) -> None:
    """Its connections stay open, so a client that keeps one would talk to it forever."""
    from redis.exceptions import ReadOnlyError

    from crud_service.stores.redis_clients import api_redis

    first, second = pair
    client = api_redis(0)
    before = client.client_id()
    second.client.replicaof("NO", "ONE")
    first.client.replicaof("127.0.0.1", second.port)
    with pytest.raises(ReadOnlyError):
        client.set("key", "value")
    assert client.client_id() != before


def test_a_server_that_cannot_acknowledge_is_not_ready(pair: Pair) -> None:
    from crud_service.monitoring.health import ask_redis

    ask_redis(ONLY)
    pair[0].client.config_set("appendonly", "no")
    with pytest.raises(redis.ResponseError, match="appendonly"):
        ask_redis(ONLY)


def test_metrics_count_the_replicas_that_are_connected(pair: Pair) -> None:
    from crud_service.monitoring.store_metrics import replica_metrics

    def counted(server: Valkey) -> list[float]:
        return [metric.samples[0].value for metric in replica_metrics([server.client])]

    first, second = pair
    assert counted(first) == [1, 1]
    assert counted(second) == [0, 1]
