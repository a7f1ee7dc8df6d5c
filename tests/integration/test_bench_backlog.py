"""The watch over the stream's length, with which the benchmarks measure how fast it is emptied."""

import redis

from bench.backlog import Backlog
from contract.keys import ACCEPTED
from tests.integration.numbering.surroundings import Valkey


def test_the_end_of_a_drain_is_seen_however_late_the_next_look_would_be(valkey: Valkey) -> None:
    client: redis.Redis = valkey.client
    for _ in range(10):
        client.xadd(ACCEPTED, {"a": "entry"})
    with Backlog(client, every=60) as backlog:
        client.xtrim(ACCEPTED, maxlen=4)
        client.xtrim(ACCEPTED, maxlen=0)
    assert backlog.points[-1][1] == 0
