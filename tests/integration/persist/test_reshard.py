"""What `reshard` refuses; tests/fault/test_resharding.py changes the number of shards."""

from importlib.resources import files

import pytest
import redis
from django.core.management import CommandError, call_command

from contract import keys
from contract.shards import ONLY, Shards
from tests.integration.accepting import TOKEN, accept, query

SEEDING = files("numbering_service.seeding")


def test_entries_at_a_former_address_are_not_left_behind(
    database: str, stream: redis.Redis, clean_crud: dict[str, str]
) -> None:
    """With the same number of shards there is nothing to change, but something to store."""
    from crud_service.persist.reshard import LeftBehindError, reshard

    said: list[str] = []
    former_url = clean_crud["REDIS_URL"] + "?health_check_interval=9"
    reshard(former_url, said.append)
    assert said == ["there are 1 shards already"]
    accept(stream, 1, "waits")
    with pytest.raises(LeftBehindError, match="1 entries wait"):
        reshard(former_url, said.append)
    assert stream.xlen("accepted") == 1


def test_a_clients_key_that_holds_the_tag_of_another_shard_stays(
    stream: redis.Redis, clean_crud: dict[str, str]
) -> None:
    from crud_service.persist.reshard import delete_all, patterns_of

    one, other = Shards(2)
    sequence = one.key(keys.chat_sequence(TOKEN))
    own = [sequence, keys.seed_lock(sequence), one.key(keys.idempotency(TOKEN, 1, "key"))]
    clients = [shard.key(keys.idempotency(TOKEN, 1, f"a {one.tag} b")) for shard in Shards(3)]
    clients.append(other.key(keys.idempotency(TOKEN, None, one.tag)))
    stream.mset(dict.fromkeys([*own, *clients], "1"))
    assert delete_all(stream, patterns_of(one)) == len(own)
    assert stream.exists(*clients) == len(clients)


def test_a_seeding_that_has_read_what_waits_writes_no_sequence_once_it_is_stored(
    database: str, stream: redis.Redis, clean_crud: dict[str, str]
) -> None:
    """A numbering_service that was not stopped would go on handing out numbers from there."""
    from crud_service.persist.reshard import empty

    accept(stream, 1, "waits")
    sequence = keys.message_sequence(TOKEN, 1)
    names = (sequence, keys.seed_lock(sequence))
    taken = stream.eval(SEEDING.joinpath("take_lock.lua").read_text(), 2, *names, "ours", 60_000)
    assert taken == b"taken"
    empty(stream, ONLY)
    assert stream.xlen("accepted") == 0
    write = SEEDING.joinpath("write_sequence.lua").read_text()
    assert stream.eval(write, 2, *names, "ours", 1, 60_000, "") == 0
    assert not stream.exists(*names)


def test_a_change_that_was_killed_before_it_copied_the_limits_is_finished_with_them(
    database: str, stream: redis.Redis, clean_crud: dict[str, str]
) -> None:
    from crud_service.persist.reshard import reshard

    query(database, "UPDATE applications SET rate_limit = 5")
    query(database, "INSERT INTO shards (size, former) VALUES (1, 2)")
    stream.set(keys.LIMITS_SYNCHRONISED, "1")  # said before they are compared
    reshard(clean_crud["REDIS_URL"], lambda _line: None)
    assert stream.hgetall(keys.LIMITS) == {TOKEN.encode(): b"5 5"}


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:6379", "http://127.0.0.1", "redis://127.0.0.1/chat"]
)
def test_a_former_address_that_is_none_of_redis_is_refused(
    clean_crud: dict[str, str], url: str
) -> None:
    """In place of another path than a number redis-py would move database 0."""
    with pytest.raises(CommandError, match="--former-url: must be a redis:// or rediss:// URL"):
        call_command("reshard", f"--former-url={url}")
