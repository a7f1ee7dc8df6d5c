"""Which server has a shard, as far as the URL of Redis says so."""

import pytest

from contract.shards import ONLY, Shard, Shards
from crud_service.stores.shard_connections import ShardServers, look_up


@pytest.mark.parametrize("shard", [ONLY, *Shards(2)])
def test_a_unix_socket_leads_to_one_server_that_is_not_looked_up(shard: Shard) -> None:
    url = "unix:///nowhere/redis.sock?db=1"
    assert not ShardServers(url).is_cluster()
    assert look_up(url, shard) == {}


def test_only_with_several_shards_is_a_server_looked_up() -> None:
    url = "redis://127.0.0.1:1/0"
    assert look_up(url, ONLY) == {}
    assert look_up(url, Shards(2).first).keys() == {"connection_class", "locate"}
