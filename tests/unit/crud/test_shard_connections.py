"""Which server has a shard, as far as the URL of Redis says so."""

from contract.shards import ONLY, Shards
from crud_service.stores.shard_connections import look_up


def test_only_with_several_shards_is_a_server_looked_up() -> None:
    url = "redis://127.0.0.1:1/0"
    assert look_up(url, ONLY) == {}
    assert look_up(url, Shards(2).first).keys() == {"connection_class", "locate"}
