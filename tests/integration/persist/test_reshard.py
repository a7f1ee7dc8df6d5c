"""What `reshard` refuses; tests/fault/test_resharding.py changes the number of shards."""

import pytest
import redis

from tests.integration.accepting import accept


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
