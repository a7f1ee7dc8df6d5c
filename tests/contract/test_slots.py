"""How both services ask for a cluster's slots, and what they read of the reply."""

import asyncio

import pytest
from redis.exceptions import ConnectionError, ResponseError

from contract.cluster import Cluster, Node, SlotNotServedError
from contract.shards import Shards
from crud_service.stores.shard_connections import ShardServers as CrudShardServers
from numbering_service.redis_errors import RETRYABLE, read_error
from numbering_service.shard_servers import ShardServers

CONFIGURED, ASKED = Node("seed", 6379), Node("asked", 7000)
REPLY = [
    [0, 99, [b"a", 1, b"id", []], [b"b", 2, b"id", []]],
    [100, 16383, [b"", 3, b"id", []], [b"?", 4, b"id", []], [None, 5, b"id", []]],
]


def test_the_primary_of_a_slot_comes_first() -> None:
    cluster = Cluster(CONFIGURED)
    assert cluster.primary_of(99, REPLY, ASKED) == Node("a", 1)
    assert cluster.primary_of(100, REPLY, ASKED) == Node("asked", 3)


def test_all_nodes_are_asked_later_and_the_configured_one_last() -> None:
    cluster = Cluster(CONFIGURED)
    assert cluster.candidates() == [CONFIGURED]
    cluster.primary_of(0, REPLY, ASKED)
    *others, last = cluster.candidates()
    assert last == CONFIGURED
    assert set(others) == {Node("a", 1), Node("b", 2), *(Node("asked", n) for n in (3, 4, 5))}


def test_a_node_that_was_silent_is_asked_last_until_it_answers() -> None:
    cluster = Cluster(CONFIGURED)
    cluster.primary_of(0, REPLY, ASKED)
    silent = Node("a", 1)
    cluster.note_silence(silent)
    assert {cluster.candidates()[-1] for _ in range(20)} == {silent}
    cluster.primary_of(0, REPLY, silent)
    assert cluster.candidates()[-1] == CONFIGURED


def test_a_server_that_is_no_cluster_has_everything() -> None:
    error = ResponseError("This instance has cluster support disabled")
    assert Cluster(CONFIGURED).primary_of(7, error, ASKED) == CONFIGURED


@pytest.mark.parametrize("reply", [ResponseError("NOPERM no permissions"), [], REPLY[1:]])
def test_without_a_server_of_the_slot_there_is_none(reply: object) -> None:
    with pytest.raises(SlotNotServedError):
        Cluster(CONFIGURED).primary_of(7, reply, ASKED)


@pytest.mark.parametrize(
    "text",
    [
        "MOVED 7 127.0.0.1:6379",
        "ASK 7 127.0.0.1:6379",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "CLUSTERDOWN The cluster is down",
        "ERR Attempted to access a non local key in a cluster node script: f, on @user_script:1.",
        "ERR Script attempted to access a non local key in a cluster node script: f",
    ],
)
def test_a_batch_that_meets_a_slot_that_moves_is_sent_again(text: str) -> None:
    assert isinstance(read_error(text), RETRYABLE)


@pytest.mark.parametrize("options", ["socket_timeout=5", "max_connections=9", "timeout=1"])
def test_a_url_may_have_options_for_commands_and_pools(options: str) -> None:
    url = f"redis://127.0.0.1:1/0?{options}"
    with pytest.raises(ConnectionError):
        CrudShardServers(url).is_cluster()
    with pytest.raises(ConnectionError, match="No server of a shard is known"):
        asyncio.run(ShardServers(url, 3).address_of(Shards(3)[0]))
