"""Entries of different shards that have the same id."""

import redis

from contract.entries import Entry, encode
from contract.keys import ACCEPTED
from contract.shards import Shards
from tests.integration.accepting import TOKEN, make_application, query
from tests.integration.numbering.surroundings import B

UNKNOWN = ("C" * 24, "D" * 24)


def test_entries_with_the_same_id_in_two_shards_are_all_kept(
    database: str, stream: redis.Redis
) -> None:
    """A set-aside entry and a conflict of each shard, whose clock gives both the same ids."""
    from crud_service.persist.drain import drain_accepted

    make_application(database, B)
    for shard, token, unknown in zip(Shards(2), (TOKEN, B), UNKNOWN, strict=True):
        for entry_id, of, body in (
            ("1700000000000-0", token, "first"),
            ("1700000000000-1", unknown, "nobody's"),
            ("1700000000001-0", token, "second with its number"),
        ):
            entry = Entry(entry_id, of, 1, 1, body, "r")
            stream.xadd(shard.key(ACCEPTED), encode(entry), id=entry_id)
        drain_accepted(stream, shard)
    conflicts = query(database, "SELECT access_token FROM conflicts ORDER BY 1")
    assert conflicts == [(TOKEN,), (B,)]
    set_aside = query(database, "SELECT access_token FROM set_aside_entries ORDER BY 1")
    assert set_aside == [(token,) for token in UNKNOWN]
